#!/bin/bash
# SPDX-License-Identifier: MIT
#
# dynamic.sh [all]: Debian's dynamic programs do the same work natively and under `vellum run`: output, status and files are
# the same, and each tracked run is verified. Without "all": the programs of a bare Debian with build-essential, one
# tracking mode each. With it, all modes, and more programs: those that are installed. From the environment: VELLUM; ONLY: a
# regular expression for the names of programs. Prints TAP.
set -u
. "$(dirname "$0")/lib.sh"

VELLUM=$(readlink -f "$VELLUM")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
modes=(none wp clean auto)
counts=("")	# of CPUs; "": the default
turn=0 all=${1:-}

work_files() {	# DIRECTORY
	mkdir -p "$1/src"
	seq 1 3000 | awk '{ print ($1 * 7919) % 3001, "line", $1 }' >"$1/numbers"
	printf 'all: a b c\n%%: %%.in\n\tsort -n $< >$@\n' >"$1/Makefile"
	for f in a b c; do head -n 500 "$1/numbers" >"$1/$f.in"; done
	cat >"$1/src/hello.c" <<'END'
#include <stdio.h>
int main(void) { for (int i = 0; i < 3; i++) printf("hello %d\n", i); return 3; }
END
}

# once NAME SCRIPT MODE CPUS
once() {
	local name=$1 script=$2 mode=$3 count=$4 options why=''

	rm -rf "$tmp/host" "$tmp/here"
	work_files "$tmp/host"
	cp -a "$tmp/host" "$tmp/here"
	(cd "$tmp/host" && bash -c "$script" >../host.out 2>&1 </dev/null; echo "status $?" >>../host.out)
	options=(--track="$mode")
	[ "$mode" = none ] || options+=(--verify)
	[ -z "$count" ] || options+=(--cpus="$count")
	(cd "$tmp/here" && timeout -k 5 300 "$VELLUM" run "${options[@]}" -- bash -c "$script" >../here.out 2>../here.err </dev/null
		echo "status $?" >>../here.out)
	grep -v '^vellum: ' "$tmp/here.err" >"$tmp/errors"
	cat "$tmp/errors" >>"$tmp/here.out"
	why=$(diff <(sort "$tmp/host.out") <(sort "$tmp/here.out") && diff -r "$tmp/host" "$tmp/here")
	if [ "$mode" != none ] && ! grep -q '^vellum: verified' "$tmp/here.err"; then
		why+=$(printf '\nnot verified:\n'; tail -n 3 "$tmp/here.err")
	fi
	result "$name, $mode${count:+, CPUs: $count}" "$why"
}

# as_native NAME SCRIPT: the script, by bash, in a folder of its own.
as_native() {
	local count mode

	[[ $1 =~ ${ONLY:-} ]] || return 0
	if [ -z "$all" ]; then
		once "$1" "$2" "${modes[turn % 4]}" "${counts[turn % ${#counts[@]}]}"
		turn=$((turn + 1))
		return
	fi
	for mode in "${modes[@]}"; do
		for count in "${counts[@]}"; do
			once "$1" "$2" "$mode" "$count"
		done
	done
}

# needs COMMAND...: is every one there?
needs() {
	local command

	for command; do
		command -v "$command" >/dev/null || return 1
	done
}

# more COMMANDS NAME SCRIPT: as_native, if the commands are there.
more() {
	# shellcheck disable=SC2086 # a list
	if needs $1; then
		as_native "$2" "$3"
	else
		skip "$2" "not installed: one of $1"
	fi
}

as_native "bash: pipes, functions, here-documents" 'f() { echo "$1" | tr a-z A-Z; }; for i in 1 2 3; do f "word $i"; done
	cat <<END | sort -r
	b
	a
END
	(exit 5); echo $?; wait; trap "echo trapped" USR1; kill -USR1 $$; echo ${BASH_VERSINFO[0]}'
as_native "coreutils" 'sort -n numbers | head -n 3; sha256sum numbers; wc numbers; ls -l --time-style=+ numbers | cut -c1-10
	cut -d" " -f1 numbers | sort -n | uniq | tail -n 2; cp -a src copy; stat -c "%s %F" numbers; seq 5 | paste -sd+ '
as_native "sed, grep, find, awk" 'sed -n "1,3s/line/LINE/p" numbers; grep -c 99 numbers; find . -name "*.in" | sort
	awk "{ s += \$1 } END { print s }" numbers'
as_native "perl" 'perl -e '\''my %h; while (<>) { my @w = split; $h{$w[0] % 7} += $w[2]; } print "$_ $h{$_}\n" for sort keys %h;'\'' numbers
	perl -MPOSIX -e '\''my $p = fork; if (!$p) { exit 4 } waitpid $p, 0; print $? >> 8, "\n"'\'''
as_native "perl: sockets" 'perl -MIO::Socket::INET -MIO::Select -e '\''$s = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1") or die;
	if (!fork) { $c = IO::Socket::INET->new("127.0.0.1:" . $s->sockport) or die; print $c "x" x 300000, "\n"; print "answer ", <$c>; exit }
	$sel = IO::Select->new($s); ($r) = $sel->can_read; $d = $r->accept; $l = <$d>; print $d length($l), "\n"; close $d; wait'\'''
as_native "tar, gzip" 'tar czf a.tar.gz numbers src --mtime=2020-01-01 --owner=0 --group=0 --sort=name; tar tzf a.tar.gz; mkdir x
	tar xzf a.tar.gz -C x; cmp numbers x/numbers; gzip -k9n numbers; zcat numbers.gz | cksum; rm a.tar.gz'
as_native "gcc" 'gcc -O1 -o hello src/hello.c && ./hello; echo $?; gcc -static -O0 src/hello.c -o hs && ./hs; rm -f hello hs'
as_native "make -j2" 'make -j2 | sort; cksum a b c'
as_native "dpkg" 'dpkg-query -W -f "\${Package}\n" bash coreutils; dpkg --compare-versions 1.2 lt 1.10; echo $?'

# Programs with threads, on one CPU and on two.
counts=(2 1)
as_native "C++ threads" 'cat >t.cc <<"END"
#include <atomic>
#include <condition_variable>
#include <future>
#include <iostream>
#include <map>
#include <thread>
#include <vector>
std::atomic<long> sum;
thread_local long mine;
std::mutex m;
std::condition_variable c;
std::map<int, int> shared;
int ready;
static double series(int n) { double x = 0; for (int i = 1; i < n; i++) x += 1.0 / i / i; return x; }
int main() {
	std::vector<std::thread> t;
	for (int i = 0; i < 6; i++)
		t.emplace_back([i] {
			for (int j = 0; j < 3000; j++) { mine += j; std::lock_guard<std::mutex> l(m); shared[j % 50] += i; }
			sum += mine;
			std::unique_lock<std::mutex> l(m);
			ready++;
			c.notify_all();
			c.wait(l, [] { return ready == 6; });
			try { throw i; } catch (int e) { sum += e; }
		});
	auto f = std::async(std::launch::async, series, 100000);
	for (auto &x : t) x.join();
	std::cout << sum << " " << shared[7] << " " << (f.get() == series(100000)) << std::endl;
}
END
	g++ -O1 -pthread -o t t.cc && ./t; rm -f t t.cc'
as_native "perl: threads" 'perl -Mthreads -Mthreads::shared -MThread::Queue -e '\''my $q = Thread::Queue->new; my $s : shared = 0;
	my @t = map { threads->create(sub { while (defined(my $x = $q->dequeue)) { lock $s; $s += $x } }) } 1 .. 3;
	$q->enqueue($_) for 1 .. 200; $q->end; $_->join for @t; print "$s\n"'\'''
as_native "sort --parallel" 'for i in 1 2 3 4 5 6 7 8; do cat numbers; done >many; sort --parallel=4 -S 1M -n many | cksum; rm many'
more xz "xz -T2" 'xz -T2 -k numbers && xz -dc numbers.xz | cksum; rm numbers.xz'
more git "git gc" 'export HOME=$PWD GIT_CONFIG_GLOBAL=/dev/null; git init -q r && cd r
	for i in 1 2 3 4 5 6; do head -n "$((i * 400))" ../numbers >f; git add f; git -c user.name=a -c user.email=a@b commit -qm $i; done
	git -c pack.threads=4 gc -q && git fsck 2>&1; git count-objects; git log --format=%s; cd ..; rm -rf r'
more sqlite3 "sqlite3, several writers" 'sqlite3 x.db "create table t(a)"
	for i in 1 2 3; do (for j in 1 2 3 4 5; do sqlite3 x.db ".timeout 20000" "insert into t values ($i)"; done) & done; wait
	sqlite3 x.db "select a, count(*) from t group by a; pragma integrity_check"; rm x.db'
more openssl "openssl s_server, s_client" 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout k -out c 2>/dev/null
	for try in 1 2 3 4 5; do
		port=$((20000 + RANDOM % 10000))
		openssl s_server -accept 127.0.0.1:$port -key k -cert c -quiet -rev -naccept 1 </dev/null >/dev/null 2>&1 & server=$!
		for i in 1 2 3 4 5 6 7 8 9; do
			kill -0 $server 2>/dev/null || break
			sleep 0.3
			(echo hello; sleep $try) | openssl s_client -connect 127.0.0.1:$port -quiet -no_ign_eof -verify_quiet >answer 2>/dev/null
			[ ! -s answer ] || break 2
		done
	done; cat answer; wait; rm -f k c answer'
counts=("")

# More programs of Debian, in `all` only.
more_programs() {
	more python3 "python3" 'python3 -c "import json, hashlib, re, subprocess; print(json.dumps({\"a\": [1, 2.5, None]}))
print(hashlib.sha256(b\"x\").hexdigest(), subprocess.run([\"echo\", \"x\"], capture_output=True).stdout)"'
	more dash "dash" 'dash -c "i=0; while [ \$i -lt 200 ]; do i=\$((i + 1)); done; echo \$i; trap \"echo end\" EXIT"'
	more openssl "openssl" 'openssl dgst -sha512 numbers; seq 100 | openssl enc -aes-128-cbc -K 00112233445566778899aabbccddeeff \
		-iv 00112233445566778899aabbccddeeff | openssl base64'
	more g++ "g++" 'printf "%s\n" "#include <map>" "#include <iostream>" "int main() { std::map<int, int> m; for (int i = 0; i < 100; i++)" \
		"m[i % 7] += i; try { throw 3; } catch (int e) { m[9] = e; } for (auto &p : m) std::cout << p.first << p.second << std::endl; }" >m.cc
		g++ -O1 -o m m.cc && ./m; rm -f m'
	more git "git" 'export HOME=$PWD GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
		git init -q r && cd r && cp ../numbers . && git add . && git -c user.name=a -c user.email=a@b commit -qm one
		git log --format=%H; cd .. && git clone -q r s && cmp r/numbers s/numbers; rm -rf r s'
	more sqlite3 "sqlite3" 'sqlite3 x.db "create table t(a, b); insert into t values (1, 2), (3, 4); select sum(a), max(b) from t;
		with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) insert into t select i, i * i from n;
		select count(*), sum(b) from t; pragma integrity_check"; rm x.db'
	more vim "vim -es" 'vim -u NONE -es -c "%s/line/LINE/g" -c "sort n" -c "wq" numbers; head -n 3 numbers'
	more "gdb gcc" "gdb on a core" 'gdb -nx -batch -ex "print 6 * 7" -ex "print sizeof(long)"; [ -e ../c.core ] &&
		gdb -nx -batch -ex bt -ex "info registers rip" -ex "x/3i \$pc" ../c ../c.core'
	more lua5.4 "lua" 'lua5.4 -e "local t = {} for i = 1, 1000 do t[i] = i * i end print(#t, t[500], string.rep(\"ab\", 3))"'
	more gawk "gawk" 'gawk "{ s += \$1; n[\$1 % 3]++ } END { print s; for (i in n) print i, n[i] }" numbers'
	more apt-get "apt-get -s" 'apt-get -s install hello 2>&1 | tail -n 3'
	more curl "curl file://" 'curl -s "file://$PWD/numbers" | cksum'
	more xz "xz" 'xz -T1 -k numbers && xz -dc numbers.xz | cksum'
	more bzip2 "bzip2" 'bzip2 -k numbers && bzip2 -dc numbers.bz2 | cksum'
	more bc "bc" 'echo "2 ^ 200; scale = 30; 1 / 7" | bc'
	more diff "diff, patch, cmp" 'head -n 100 numbers >a; sed "s/line 5/LINE 5/" a >b; diff -u a b | tail -n +3; cmp a b; cmp a a; rm a b'
	more "nice chrt setarch taskset" "nice, chrt, setarch, taskset, timeout" 'nice -n 3 nice; chrt -p 0 | cut -d: -f2; setarch -R echo x; taskset -p 0 | cut -d: -f2
		timeout 1 sleep 5; echo $?; env | wc -l >/dev/null; id -u; nproc; hostname | cksum'
	more "dd tee split" "dd, tee, split, shuf" 'dd if=/dev/zero bs=4096 count=10 2>/dev/null | sha1sum; tee copy <numbers | cksum; split -n 3 numbers part.
		cksum part.*; shuf --random-source=numbers -n 3 numbers; comm -12 <(sort numbers) <(sort copy) | wc -l'
}

# Servers and clients.
socket_programs() {
	more python3 "python3: servers and clients" 'python3 - <<"END"
import os, socket
for family in (socket.AF_INET, socket.AF_UNIX):
    s = socket.socket(family)
    s.bind(("127.0.0.1", 0) if family == socket.AF_INET else "sock")
    s.listen()
    if os.fork() == 0:
        c = socket.socket(family)
        c.connect(s.getsockname())
        c.sendall(open("numbers", "rb").read() * 20)
        c.shutdown(socket.SHUT_WR)
        print("answer", c.makefile().read(), flush=True)
        os._exit(0)
    d, address = s.accept()
    n = 0
    while b := d.recv(65536):
        n += len(b)
    d.sendall(str(n).encode())
    d.close()
    os.wait()
os.unlink("sock")
a, b = socket.socketpair()
r, w = os.pipe()
socket.send_fds(a, [b"fd"], [w])
os.write(socket.recv_fds(b, 2, 1)[1][0], b"through a message")
print(os.read(r, 100))
END'
	more python3 "python3: selectors" 'python3 - <<"END"
import os, selectors, socket
sel = selectors.DefaultSelector()
s = socket.create_server(("127.0.0.1", 0))
sel.register(s, selectors.EVENT_READ)
print(type(sel).__name__)
kids = []
for i in range(4):
    kids.append(os.fork())
    if kids[-1] == 0:
        c = socket.create_connection(s.getsockname())
        c.sendall(b"%d" % i * 5000)
        c.shutdown(socket.SHUT_WR)
        os._exit(i if c.recv(5) == b"5000" else 9)
got = {}
while sum(c.fileno() < 0 for c in got) < 4:
    for key, mask in sel.select():
        c = key.fileobj
        if c is s:
            c, address = s.accept()
            c.setblocking(False)
            sel.register(c, selectors.EVENT_READ)
            got[c] = b""
        elif b := c.recv(1000):
            got[c] += b
        else:
            sel.unregister(c)
            c.sendall(b"%d" % len(got[c]))
            c.close()
print(sorted(v[:1] for v in got.values()), sorted(os.waitpid(p, 0)[1] >> 8 for p in kids))
END'
	more python3 "python3: asyncio" 'python3 - <<"END"
import asyncio
async def serve(r, w):
    w.write((await r.readline()).upper())
    w.close()
async def ask(port, i):
    r, w = await asyncio.open_connection("127.0.0.1", port)
    w.write(b"line %d\n" % i)
    print(await r.read())
    w.close()
async def main():
    s = await asyncio.start_server(serve, "127.0.0.1", 0)
    await asyncio.gather(*[ask(s.sockets[0].getsockname()[1], i) for i in range(5)])
asyncio.run(main())
END'
	more "curl python3" "curl, a server" 'python3 -c "import http.server, os
s = http.server.HTTPServer((\"127.0.0.1\", 0), http.server.SimpleHTTPRequestHandler)
open(\"port.new\", \"w\").write(str(s.server_port))
os.rename(\"port.new\", \"port\")
for i in range(3): s.handle_request()" 2>/dev/null &
		while [ ! -e port ]; do sleep 0.1; done
		url=http://127.0.0.1:$(cat port); curl -s $url/numbers | cksum; curl -s $url/src/hello.c
		curl -s -o /dev/null -w "%{http_code}\n" $url/absent; wait; rm port'
	more busybox "nc" 'command -v nc >/dev/null || nc() { busybox nc "$@"; }; nc -h 2>&1 | grep -q -e BusyBox -e OpenBSD || exit 0
		# nc ends when either side does, so the input of the server ends last.
		port=$((20000 + RANDOM % 10000)); mkfifo input; nc -l -p $port <input >got & exec 3>input; sleep 1
		for i in 1 2 3 4 5 6 7 8 9; do nc -w 20 127.0.0.1 $port <numbers && break; sleep 1; done
		exec 3>&-; wait; rm input; cksum got'
}

# Programs with threads.
thread_programs() {
	more python3 "python3: threading" 'python3 - <<"END"
import os, queue, subprocess, threading
from concurrent.futures import ThreadPoolExecutor
q, out = queue.Queue(), []
def work():
    while (x := q.get()) is not None:
        out.append(x * x)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for i in range(200): q.put(i)
for t in threads: q.put(None)
for t in threads: t.join()
print(sum(out), len(out), subprocess.run(["echo", "x"], capture_output=True).stdout)
pid = os.fork()
if pid == 0: os._exit(3)
with ThreadPoolExecutor(8) as pool: print(sum(pool.map(lambda x: x + 1, range(100))), os.waitpid(pid, 0)[1] >> 8)
END'
	counts=(2 1)
	more python3 "python3: multiprocessing" 'cat >m.py <<"END"
import multiprocessing as mp
def square(x): return x * x
def put(q, v, n): q.put(n); v.value += n
if __name__ == "__main__":
    for way in ("fork", "spawn", "forkserver"):
        c = mp.get_context(way)
        with c.Pool(3) as pool: print(way, sum(pool.imap_unordered(square, range(100))))
        q, v = c.Queue(), c.Value("i", 0)
        p = c.Process(target=put, args=(q, v, 5))
        p.start(); p.join()
        print(p.exitcode, q.get(), v.value)
END
		python3 m.py; rm -rf m.py __pycache__'
	more go "Go" 'export GOCACHE=$PWD/cache GOPATH=$PWD/go GO111MODULE=off CGO_ENABLED=0 HOME=$PWD; cat >g.go <<"END"
package main
import ("fmt"; "os/exec"; "sync"; "time")
func main() {
	var w sync.WaitGroup
	var m sync.Mutex
	c, n := make(chan int, 5), 0
	for i := 0; i < 50; i++ { w.Add(1); go func(i int) { defer w.Done(); for j := 0; j < 200; j++ { m.Lock(); n += i; m.Unlock() }; c <- i }(i) }
	go func() { w.Wait(); close(c) }()
	s := 0
	for x := range c { s += x }
	out, err := exec.Command("echo", "from a child").Output()
	select { case <-time.After(time.Millisecond): }
	fmt.Println(n, s, string(out), err)
}
END
		[ -x '"$tmp"'/g ] || go build -o '"$tmp"'/g g.go; '"$tmp"'/g; chmod -R u+w cache go 2>/dev/null; rm -rf g.go cache go .config'
	more rustc "Rust" 'cat >r.rs <<"END"
use std::{sync::{mpsc, Arc, Mutex}, thread};
fn main() {
	let total = Arc::new(Mutex::new(0u64));
	let (tx, rx) = mpsc::channel();
	let all: Vec<_> = (0..4u64).map(|i| { let (t, tx) = (total.clone(), tx.clone());
		thread::spawn(move || { for j in 0..1000 { *t.lock().unwrap() += i * j; } tx.send(i).unwrap(); }) }).collect();
	for t in all { t.join().unwrap(); }
	drop(tx);
	println!("{} {}", total.lock().unwrap(), rx.iter().sum::<u64>());
}
END
		[ -x '"$tmp"'/r ] || rustc -O -o '"$tmp"'/r r.rs; '"$tmp"'/r; rm -f r.rs'
	modes=(none auto)	# compiling takes long
	more rustc "rustc" 'echo "fn main() { println!(\"hello\"); }" >h.rs; rustc -o h h.rs && ./h; rm -f h h.rs'
	modes=(none wp clean auto)
	more musl-gcc "musl: threads" 'cat >m.c <<"END"
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static __thread long mine;
static long sum; static int ready;
static void *run(void *arg) { for (long i = 0; i < 1000; i++) mine += i; pthread_mutex_lock(&m); sum += mine + (long)arg; ready++;
	pthread_cond_broadcast(&c); while (ready < 5) pthread_cond_wait(&c, &m); pthread_mutex_unlock(&m); return NULL; }
int main(void) { pthread_t t[5]; for (long i = 0; i < 5; i++) pthread_create(&t[i], NULL, run, (void *)i);
	for (int i = 0; i < 5; i++) pthread_join(t[i], NULL); printf("%ld\n", sum); return 0; }
END
		musl-gcc -O1 -o m m.c && ./m; musl-gcc -static -O1 -o m m.c && ./m; rm -f m m.c'
	more "nginx curl" "nginx, curl" 'mkdir -p n; port=$((20000 + RANDOM % 10000)); printf "%s\n" "pid n/pid; worker_processes 2; error_log n/error;" \
		"events { worker_connections 64; }" "http { access_log off; client_body_temp_path n/b; proxy_temp_path n/p; fastcgi_temp_path n/f;" \
		"uwsgi_temp_path n/u; scgi_temp_path n/s; server { listen 127.0.0.1:$port; root $PWD; } }" >n/conf
		nginx -p "$PWD" -c n/conf -e n/error -g "daemon off; user root;" 2>/dev/null & while [ ! -s n/pid ]; do sleep 0.1; done; sleep 1
		for i in 1 2 3 4 5 6 7 8 9 10; do curl -s http://127.0.0.1:$port/numbers | cksum; done | sort | uniq -c
		curl -s -o /dev/null -w "%{http_code}\n" http://127.0.0.1:$port/absent; kill -QUIT $(cat n/pid); wait; rm -rf n'
	more "redis-server redis-benchmark" "redis-benchmark" 'redis-server --port 0 --unixsocket "$PWD/s" --save "" >/dev/null &
		while ! redis-cli -s s ping 2>/dev/null | grep -q PONG; do sleep 0.2; done
		redis-benchmark -s s -n 1000 -c 10 -q -t set,get,lpush 2>&1 | tr "\r" "\n" | sed -n "s/^\([A-Z]*\):.*requests per second.*/\1/p" | sort -u
		redis-cli -s s get key:__rand_int__ | wc -c; redis-cli -s s llen mylist; redis-cli -s s shutdown nosave; wait; rm -f s'
	more "tmux" "tmux" 'tmux -L vt -f /dev/null new-session -d -x 80 -y 24 "echo inside; read x; echo got \$x; sleep 30" && sleep 1
		tmux -L vt send-keys hello Enter; sleep 1; tmux -L vt capture-pane -p | grep .; tmux -L vt kill-server'
	more ssh-keygen "ssh-keygen" 'ssh-keygen -q -t ed25519 -N "" -C x -f k && ssh-keygen -y -f k | cmp - k.pub && ssh-keygen -lf k.pub | cut -d" " -f1,3-
		echo text >f; ssh-keygen -q -Y sign -f k -n file f 2>/dev/null; ssh-keygen -Y check-novalidate -n file -s f.sig <f 2>&1 | cut -d" " -f1-4; rm -f k k.pub f f.sig'
	more xz "xz -T4" 'xz -T4 -k numbers && xz -dc numbers.xz | cksum'
	more node "node" 'node -e "const { Worker } = require(\"worker_threads\");
new Worker(\"require(\\\"worker_threads\\\").parentPort.postMessage(42)\", { eval: true }).on(\"message\", m => console.log(m));
require(\"fs\").readFile(\"numbers\", (e, d) => console.log(d.length));"'
	more "java javac" "java" 'printf "%s\n" "public class H { public static void main(String[] a) throws Exception {" \
		"Thread[] t = new Thread[4]; int[] s = new int[1]; for (int i = 0; i < 4; i++) { t[i] = new Thread(() -> {" \
		"for (int j = 0; j < 1000; j++) synchronized (s) { s[0]++; } }); t[i].start(); } for (Thread x : t) x.join();" \
		"System.out.println(s[0]); } }" >H.java; javac -J-XX:TieredStopAtLevel=1 H.java && java -Xshare:auto H; rm -f H.*'
	more redis-server "redis" 'redis-server --port 0 --unixsocket "$PWD/s" --save "" >/dev/null & while ! redis-cli -s s ping 2>/dev/null | grep PONG; do sleep 0.2; done
		for i in 1 2 3; do redis-cli -s s incr n; done; redis-cli -s s lrange x 0 -1; redis-cli -s s shutdown nosave; wait; rm -f s'
}

# gdb reads a core of this program, which is made once: a core has addresses and times.
make_core() {
	needs gdb gcc || return 0
	printf '#include <stdlib.h>\nint deep(int n) { if (!n) abort(); return deep(n - 1) + 1; }\nint main(void) { return deep(3); }\n' >"$tmp/c.c"
	gcc -g -o "$tmp/c" "$tmp/c.c" && gdb -nx -batch -ex run -ex "generate-core-file $tmp/c.core" "$tmp/c" >/dev/null 2>&1
	return 0
}

if [ -n "$all" ]; then
	make_core
	more_programs
	socket_programs
	thread_programs
fi
finish
