// What Go programs lean on: goroutines, the garbage collector, nil checks, signals, the network poller, child processes.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

func goroutines() {
	var wg sync.WaitGroup
	results := make(chan int, 100)
	for i := 0; i < 1000; i++ {
		wg.Add(1)
		go func(n int) {
			defer wg.Done()
			runtime.Gosched()
			results <- n
		}(i)
	}
	go func() { wg.Wait(); close(results) }()
	sum := 0
	for n := range results {
		sum += n
	}
	fmt.Println("goroutines", sum)
}

type node struct {
	next  *node
	bytes [100]byte
}

func garbage() {
	var wg sync.WaitGroup
	for g := 0; g < 4; g++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for round := 0; round < 20; round++ {
				var list *node
				for i := 0; i < 20000; i++ {
					list = &node{next: list}
				}
				n := 0
				for p := list; p != nil; p = p.next {
					n++
				}
				if n != 20000 {
					panic("a list lost nodes")
				}
			}
		}()
	}
	wg.Wait()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("collected", stats.NumGC > 0)
}

func nilDereference() {
	defer func() { fmt.Println("recovered:", recover()) }()
	var p *node
	fmt.Println(p.bytes[3])
}

func divide() {
	defer func() { fmt.Println("recovered:", recover()) }()
	zero := len(os.Args) - len(os.Args)
	fmt.Println(1 / zero)
}

func deepStack(n int) int {
	var room [256]byte
	room[n%256] = 1
	if n == 0 {
		return int(room[0])
	}
	return deepStack(n-1) + int(room[n%256])
}

func busyPreempted() {
	stop := make(chan bool)
	go func() { time.Sleep(20 * time.Millisecond); stop <- true }()
	n := 0
	go func() {
		for {
			n++
		}
	}()
	<-stop
	fmt.Println("a busy loop is preempted")
}

func signals() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	select {
	case s := <-ch:
		fmt.Println("signal", s)
	case <-time.After(5 * time.Second):
		fmt.Println("no signal")
	}
}

func sockets() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(body))
	}))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var answers []string
	for i := 0; i < 20; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			r, err := http.Post(fmt.Sprintf("http://%s/p%02d", l.Addr(), i), "text/plain", bytes.NewReader(make([]byte, 10000*i)))
			if err != nil {
				fmt.Println(err)
				return
			}
			body, _ := io.ReadAll(r.Body)
			r.Body.Close()
			mu.Lock()
			answers = append(answers, string(body))
			mu.Unlock()
		}(i)
	}
	wg.Wait()
	sort.Strings(answers)
	fmt.Println(len(answers), answers[0], answers[len(answers)-1])
	_, err = net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	fmt.Println(strings.Contains(err.Error(), "connection refused"))
	c, _ := net.Dial("tcp", l.Addr().String())
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	fmt.Println("timeout", err.(net.Error).Timeout())
}

func children() {
	if len(os.Args) > 1 {
		io.Copy(os.Stdout, os.Stdin)
		os.Exit(3)
	}
	cmd := exec.Command(os.Args[0], "child")
	cmd.Stdin = strings.NewReader("through a child")
	out, err := cmd.Output()
	fmt.Println(string(out), err)
	_, err = exec.Command("/no/such/program").Output()
	fmt.Println(err)
	cmd = exec.Command("/bin/sh", "-c", "echo from the shell; kill -9 $$")
	out, err = cmd.CombinedOutput()
	fmt.Print(string(out))
	fmt.Println(err)
}

func main() {
	if len(os.Args) > 1 {
		children()
	}
	goroutines()
	garbage()
	nilDereference()
	divide()
	fmt.Println("deep", deepStack(100000))
	signals()
	sockets()
	children()
	busyPreempted()
	fmt.Println("done")
}
