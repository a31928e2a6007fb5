# What perl programs do every day; one line of output for each, the same everywhere.
use strict; use warnings;
use POSIX qw(:sys_wait_h strftime floor);
use File::Temp qw(tempfile tempdir); use File::Find; use File::Copy; use Cwd; use IO::Socket::INET; use IO::Select;
use Time::HiRes qw(sleep time alarm); use List::Util qw(sum shuffle first); use Data::Dumper; use Storable qw(freeze thaw);
use IPC::Open3; use Socket; use Fcntl qw(:flock SEEK_SET); use Digest::MD5 qw(md5_hex); use threads; use Thread::Queue;
use IPC::SysV qw(IPC_PRIVATE IPC_CREAT IPC_RMID S_IRUSR S_IWUSR); use Sys::Hostname; use Encode;
$| = 1;
my $dir = tempdir(CLEANUP => 1);
my ($fh, $name) = tempfile(DIR => $dir);
print $fh "line $_\n" for 1..1000; close $fh;
open my $in, '<', $name or die; my @lines = <$in>; close $in;
print scalar(@lines), " $lines[-1]";
copy($name, "$dir/copy"); print -s "$dir/copy", "\n";
my $n = 0; find(sub { $n++ if -f }, $dir); print "$n files\n";
print `echo from a shell | tr a-z A-Z`;
my $pid = fork // die; if (!$pid) { exit 7 } waitpid $pid, 0; print $? >> 8, "\n";
pipe my $r, my $w; if (!fork) { close $r; print $w "through a pipe\n"; exit } close $w; print scalar <$r>; wait;
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 0.05; sleep 5; }; print $@;
local $SIG{USR1} = sub { print "usr1\n" }; kill USR1 => $$;
my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!; my $port = $s->sockport;
if (!fork) { my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port); print $c "hello\n"; print scalar <$c>; exit }
my $c = $s->accept; my $got = <$c>; chomp $got; print $c "you said $got\n"; close $c; wait;
my $e = open3(my $to, my $from, undef, 'sort', '-r'); print $to "a\nb\n"; close $to; print <$from>; waitpid $e, 0;
print sum(map { $_ ** 2 } 1..10), " ", (join ",", sort { $a <=> $b } shuffle 1..5), "\n";
my $t = thaw freeze { a => [1, 2] }; print $t->{a}[1], "\n"; print md5_hex("x"), "\n";
open my $l, '>', "$dir/lock"; flock $l, LOCK_EX or die; print "locked\n";
(my $x = "The quick brown fox") =~ s/(\w+) (\w+)/$2 $1/; print "$x\n"; print "match $1\n" if "key=value" =~ /=(.*)/;
my $shm = shmget(IPC_PRIVATE, 100, S_IRUSR | S_IWUSR); shmwrite($shm, "shared", 0, 6); my $b; shmread($shm, $b, 0, 6); print "$b\n"; shmctl($shm, IPC_RMID, 0);
my $sem = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600); semop($sem, pack("s!3", 0, 2, 0)); print "sem\n"; semctl($sem, 0, IPC_RMID, 0);
my $q = Thread::Queue->new; my @th = map { threads->create(sub { my $s = 0; while (defined(my $j = $q->dequeue)) { $s += $j } $s }) } 1..3;
$q->enqueue(1..100); $q->enqueue((undef) x 3); print sum(map { $_->join } @th), "\n";
printf "%s %s\n", strftime("%Y-%m-%d", gmtime 0), floor(2.7); print encode('UTF-8', "\x{e9}"), "\n";
{ local @ARGV = ($name); my $k = 0; while (<>) { $k++ if /9$/ } print "$k\n"; }
eval { die { code => 42 } }; print $@->{code}, "\n"; system("sh", "-c", "exit 3"); print $? >> 8, "\n";
my %h = map { $_ => length } qw(one three five); print join(" ", map { "$_=$h{$_}" } sort keys %h), "\n"; print "done\n";
