//! python3, ping and the programs that show and set the network, in the guest.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use appliance::guest::Hook;

use crate::lab::{Lab, isolated};

const LIMIT: u64 = 30;

/// Runs a python3 program as init and expects `output`.
fn expect_python(hook: Hook, program: &str, output: &str) {
    assert_eq!(isolated(hook, &["/usr/bin/python3", "-c", program]).succeed(LIMIT), output, "{program}");
}

#[test]
fn python_threads_and_sockets() {
    let program = r#"
import json, queue, socket, threading

# Workers square numbers from one queue into another.
jobs, results = queue.Queue(), queue.Queue()
def square():
    while (n := jobs.get()) is not None:
        results.put(n * n)
workers = [threading.Thread(target=square) for _ in range(4)]
for worker in workers: worker.start()
for n in range(100): jobs.put(n)
for _ in workers: jobs.put(None)
for worker in workers: worker.join()
print(json.dumps({"sum": sum(results.get() for _ in range(100)), "left": results.qsize()}, sort_keys=True))

# Threads talk over loopback.
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    for _ in range(3):
        peer, _ = listener.accept()
        with peer, peer.makefile("rw") as file:
            request = json.loads(file.readline())
            file.write(json.dumps(request["text"] * request["times"]) + "\n")
server = threading.Thread(target=serve)
server.start()
for times in range(1, 4):
    with socket.create_connection(listener.getsockname(), timeout=5) as peer, peer.makefile("rw") as file:
        file.write(json.dumps({"text": "ab", "times": times}) + "\n")
        file.flush()
        print(json.loads(file.readline()))
server.join()

left, right = socket.socketpair()
left.sendall(b"through a pair")
print(right.recv(100).decode())
"#;
    let output = "{\"left\": 0, \"sum\": 328350}\nab\nabab\nababab\nthrough a pair\n";
    for hook in [Hook::Seccomp, Hook::Patch] {
        expect_python(hook, program, output);
    }
}

#[test]
fn a_shell_on_a_pseudoterminal_has_job_control() {
    let program = r##"
import fcntl, os, pty, select, signal, struct, termios, time

pid, master = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--norc", "--noediting", "-i"])
screen = b""
def expect(text):
    global screen
    end = time.monotonic() + 20
    while text not in screen:
        ready = select.select([master], [], [], max(0, end - time.monotonic()))[0]
        assert ready, (text, screen)
        screen += os.read(master, 4096)
    screen = screen[screen.index(text) + len(text):]
    print(text.decode())
def send(text):
    os.write(master, text)

expect(b"# ")
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 31, 97, 0, 0))
send(b"tty; stty size\n")
expect(b"/dev/pts/0")
expect(b"31 97")
send(b"sh -c 'echo u\"\"p; exec sleep 100'\n")
expect(b"up")
send(b"\x1a")
expect(b"Stopped")
send(b"bg; jobs\n")
expect(b"Running")
send(b"fg\n")
while os.tcgetpgrp(master) == pid: time.sleep(0.01)
send(b"\x03")
while os.tcgetpgrp(master) != pid: time.sleep(0.01)
send(b"echo status $?; cat\n")
expect(b"status 130")
while os.tcgetpgrp(master) == pid: time.sleep(0.01)
send(b"lime\x7f\x7fne\n\x04")
while os.tcgetpgrp(master) != pid: time.sleep(0.01)
send(b"exit 3\n")
expect(b"line")
try:
    while os.read(master, 4096): pass
except OSError as error:
    print(error.strerror)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

# What has the terminal when its master closes hears of it.
pid, master = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", "echo ready; exec sleep 100"])
expect(b"ready")
os.close(master)
print(signal.Signals(-os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).name)
"##;
    let output =
        "# \n/dev/pts/0\n31 97\nup\nStopped\nRunning\nstatus 130\nline\nInput/output error\n3\nready\nSIGHUP\n";
    for hook in [Hook::Seccomp, Hook::Patch] {
        expect_python(hook, program, output);
    }
}

#[test]
fn python_subprocesses() {
    let program = r#"
import os, signal, subprocess, sys

print(subprocess.run(["tr", "a-z", "A-Z"], input="shout", capture_output=True, text=True, check=True).stdout)
print(subprocess.check_output("echo $((6 * 7)) | cat", shell=True, text=True).strip())
print(subprocess.run([sys.executable, "-c", "import sys; sys.exit(5)"]).returncode)
sleeper = subprocess.Popen(["sleep", "60"])
sleeper.send_signal(signal.SIGTERM)
print(sleeper.wait(timeout=5))
try:
    subprocess.run(["sleep", "60"], timeout=0.1)
except subprocess.TimeoutExpired:
    print("timeout")
try:
    subprocess.run(["/nonexistent"])
except FileNotFoundError as error:
    print(error.filename)
pid = os.fork()
if pid == 0:
    os._exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    let output = "SHOUT\n42\n5\n-15\ntimeout\n/nonexistent\n9\n";
    expect_python(Hook::Patch, program, output);
    expect_python(Hook::Seccomp, program, output);
}

#[test]
fn http_both_ways() {
    let lab = Lab::new();
    let serve = "import http.server, os; os.chdir('/etc'); \
                 http.server.ThreadingHTTPServer(('', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()";

    let guest = lab.guest(Hook::Patch, &["/usr/bin/python3", "-c", serve]);
    for _ in 0..3 {
        let response = get(lab.connect(8000, &guest), "/passwd");
        assert!(response.starts_with("HTTP/1.0 200 OK\r\n") && response.contains("\r\n\r\nroot:x:0:0:"), "{response}");
    }
    assert!(get(lab.connect(8000, &guest), "/none").starts_with("HTTP/1.0 404 "), "{}", guest.said());
    drop(guest);

    let host = lab.host(&["/usr/bin/python3", "-c", serve]);
    lab.wait_for_listener(&host, 8000);
    let fetch = "import urllib.request; print(urllib.request.urlopen('http://10.77.0.1:8000/passwd').read().decode())";
    let fetched = lab.guest(Hook::Seccomp, &["/usr/bin/python3", "-c", fetch]).succeed(LIMIT);
    assert!(fetched.starts_with("root:x:0:0:"), "{fetched}");
    let wget = "busybox wget -q -O - http://10.77.0.1:8000/passwd";
    assert_eq!(lab.guest_script(Hook::Seccomp, wget).succeed(LIMIT).trim(), fetched.trim());
}

/// The whole response to a GET of `path`.
fn get(mut stream: TcpStream, path: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: guest\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn ping_both_ways() {
    let lab = Lab::new();
    let complete = "3 packets transmitted, 3 received, 0% packet loss";
    for hook in [Hook::Seccomp, Hook::Patch] {
        let out = lab.guest(hook, &["/usr/bin/ping", "-c", "3", "-i", "0.2", "10.77.0.1"]).succeed(LIMIT);
        assert!(out.contains("icmp_seq=3") && out.contains(complete), "{out}");
    }
    let guest = lab.guest(Hook::Patch, &["/bin/sh", "-c", "echo up; sleep 60"]);
    guest.expect("up");
    for size in ["56", "1472", "20000"] {
        let ping = ["/usr/bin/ping", "-c", "3", "-i", "0.2", "-s", size, "10.77.0.2"];
        let out = lab.host(&ping).succeed(LIMIT);
        assert!(out.contains(complete), "{size}: {out}");
    }
}

#[test]
fn interfaces_and_routes_are_shown_and_set() {
    let lab = Lab::new();
    let script = r"
        set -e
        ip -o link show dev eth0
        ip -o -4 addr show
        ip route
        ip route get 10.77.0.1
        echo ==
        ifconfig eth0
        route -n
        echo ==
        ip addr add 10.79.0.2/24 dev eth0
        ip route add 10.80.0.0/16 via 10.79.0.1
        ip -o -4 addr show dev eth0
        ip route
        echo ==
        ip route del 10.80.0.0/16
        ip addr del 10.79.0.2/24 dev eth0
        ip -o -4 addr show dev eth0
        ip route
        echo ==
        ip link set eth0 mtu 1400
        ip link set eth0 down
        ip -o link show dev eth0
        ifconfig eth0 10.77.0.2 netmask 255.255.255.0 up
        route add -net 10.81.0.0 netmask 255.255.0.0 gw 10.77.0.1
        route -n
        ping -c 1 10.77.0.1 >/dev/null && echo reached
    ";
    let said = lab.guest_script(Hook::Seccomp, script).succeed(LIMIT);
    let parts: Vec<&str> = said.split("==\n").collect();
    let [shown, classic, added, removed, changed] = parts[..] else { panic!("{said}") };
    let holds = |part: &str, texts: &[&str]| {
        for text in texts {
            assert!(part.contains(text), "no {text:?} in {part}\nall: {said}");
        }
    };
    let lower_up = ["eth0: <BROADCAST", "UP", "LOWER_UP", "mtu 1500", "link/ether 02:00:00:00:77:02"];
    holds(shown, &lower_up);
    holds(shown, &["lo    inet 127.0.0.1/8 scope host", "eth0    inet 10.77.0.2/24"]);
    holds(shown, &["10.77.0.0/24 dev eth0", "src 10.77.0.2", "10.77.0.1 dev eth0"]);
    holds(classic, &["inet 10.77.0.2  netmask 255.255.255.0", "ether 02:00:00:00:77:02", "RUNNING"]);
    holds(classic, &["Kernel IP routing table", "10.77.0.0       0.0.0.0         255.255.255.0   U"]);
    holds(added, &["inet 10.79.0.2/24", "10.80.0.0/16 via 10.79.0.1 dev eth0", "10.79.0.0/24 dev eth0"]);
    holds(removed, &["inet 10.77.0.2/24", "10.77.0.0/24 dev eth0"]);
    assert!(!removed.contains("10.79.") && !removed.contains("10.80."), "{removed}");
    holds(changed, &["mtu 1400", "state DOWN", "10.81.0.0       10.77.0.1       255.255.0.0     UG", "reached"]);
}
