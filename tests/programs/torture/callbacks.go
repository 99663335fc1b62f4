//go:build callbacks

package main

/*
#cgo LDFLAGS: -lpthread
#include <pthread.h>
extern int fromC(int n);
static int bridge(int n) { return fromC(n); }
static void *body(void *n) { *(int *)n = fromC(*(int *)n); return n; }
static int thread(int n) { pthread_t id; if (pthread_create(&id, 0, body, &n)) return -1; pthread_join(id, 0); return n; }
*/
import "C"

// fromC is called by C, on a thread of Go's or one of C's own.
//
//export fromC
//go:noinline
func fromC(n C.int) C.int {
	count(fromCN)
	return n + C.int(pair(int(n), 1))
}

func callbacks(n int) int {
	if n%256 == 0 {
		return int(C.thread(C.int(n % 1000)))
	}
	return int(C.bridge(C.int(n % 1000)))
}
