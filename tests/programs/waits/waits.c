// Threads that wait in the kernel in every way, and one that computes with all registers there are; each checks that
// nobody who stops it leaves a trace: no register changed, no EINTR without a handler, no wait too short, no signal
// lost. Prints the threads' counts of rounds for each line on stdin; ends with 1 and a line when one finds a trace.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS 10000000L

enum { SPIN, SLEEP, FUTEX, FUTEX_TIMED, PAUSE, SUSPEND, POLL, EPOLL, READ, SELECT, PPOLL, WAITS };
static const char *names[WAITS] = {"spin", "sleep", "futex", "futex_timed", "pause", "suspend",
                                   "poll", "epoll", "read", "select", "ppoll"};
static atomic_ulong rounds[WAITS], handled[WAITS];
static atomic_int tids[WAITS];
static _Atomic uint32_t word, quiet;
static int pipes[2];
static __thread int self;

static void fail(const char *what, long got) {
    char line[200];
    int length = snprintf(line, sizeof line, "%s: %s: %ld (errno %d)\n", names[self], what, got, errno);
    (void)!write(1, line, length);
    _exit(1);
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

static void on_signal(int number) {
    (void)number;
    handled[self]++;
}

// ---------------------------------------------------------------- registers

static unsigned char pattern[64 * 64 + 16 * 8] __attribute__((aligned(64)));
static unsigned char found[64 * 64 + 16 * 8] __attribute__((aligned(64)));

#define SIXTEEN "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define UPPER "16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

// Vectors to and from memory around a loop of rcx turns with a value of its own in each other register.
#define BODY(load, store)                                                                                   \
    asm volatile(load                                                                                       \
                 "fld1\n fldpi\n"                                                                           \
                 "push %%rbp\n mov $0x1111111111111111,%%rbp\n"                                             \
                 "mov $0x2222222222222222,%%rax\n mov $0x3333333333333333,%%rbx\n"                          \
                 "mov $0x4444444444444444,%%rdx\n"                                                          \
                 "mov $0x6666666666666666,%%r9\n mov $0x7777777777777777,%%r10\n"                           \
                 "mov $0x8888888888888888,%%r11\n mov $0x9999999999999999,%%r12\n"                          \
                 "mov $0x1234567812345678,%%r13\n mov $0x2345678923456789,%%r14\n"                          \
                 "mov $0x3456789a3456789a,%%r15\n"                                                          \
                 "mov %%rsi,-120(%%rsp)\n mov %%rdi,-8(%%rsp)\n" /* the red zone */                         \
                 "stc\n"                                                                                    \
                 "1: lea -1(%%rcx),%%rcx\n inc %%r9\n dec %%r9\n jrcxz 2f\n jmp 1b\n"                       \
                 "2: setc %%cl\n movzx %%cl,%%ecx\n mov %%rcx,4096+104(%%rdi)\n"                            \
                 "cmp %%rsi,-120(%%rsp)\n jne 3f\n cmp %%rdi,-8(%%rsp)\n jne 3f\n jmp 4f\n"                 \
                 "3: movq $0,4096+104(%%rdi)\n"                                                             \
                 "4: mov %%rbp,4096(%%rdi)\n mov %%rax,4096+8(%%rdi)\n mov %%rbx,4096+16(%%rdi)\n"          \
                 "mov %%rdx,4096+24(%%rdi)\n mov %%r8,4096+32(%%rdi)\n mov %%r9,4096+40(%%rdi)\n"           \
                 "mov %%r10,4096+48(%%rdi)\n mov %%r11,4096+56(%%rdi)\n mov %%r12,4096+64(%%rdi)\n"         \
                 "mov %%r13,4096+72(%%rdi)\n mov %%r14,4096+80(%%rdi)\n mov %%r15,4096+88(%%rdi)\n"         \
                 "pop %%rbp\n"                                                                              \
                 "fstpl 4096+96(%%rdi)\n fstp %%st(0)\n" store                                              \
                 :                                                                                          \
                 : "S"(pattern), "D"(found), "c"(turns), "r"(r8)                                            \
                 : "rax", "rbx", "rdx", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc")

static void with_sse(unsigned long turns) {
    register unsigned long r8 asm("r8") = 0x5555555555555555;
    BODY(".irp n," SIXTEEN "\n movups 64*\\n(%%rsi),%%xmm\\n\n .endr\n",
         ".irp n," SIXTEEN "\n movups %%xmm\\n,64*\\n(%%rdi)\n .endr\n");
}

static void with_avx(unsigned long turns) {
    register unsigned long r8 asm("r8") = 0x5555555555555555;
    BODY(".irp n," SIXTEEN "\n vmovups 64*\\n(%%rsi),%%ymm\\n\n .endr\n",
         ".irp n," SIXTEEN "\n vmovups %%ymm\\n,64*\\n(%%rdi)\n .endr\n vzeroupper\n");
}

static void with_avx512(unsigned long turns) {
    register unsigned long r8 asm("r8") = 0x5555555555555555;
    BODY(".irp n," SIXTEEN "," UPPER "\n vmovups 64*\\n(%%rsi),%%zmm\\n\n .endr\n"
         ".irp n,1,2,3,4,5,6,7\n kmovw 2048+64*\\n(%%rsi),%%k\\n\n .endr\n",
         ".irp n," SIXTEEN "," UPPER "\n vmovups %%zmm\\n,64*\\n(%%rdi)\n .endr\n"
         ".irp n,1,2,3,4,5,6,7\n kmovw %%k\\n,2048+64*\\n(%%rdi)\n .endr\n vzeroupper\n");
}

static void spin(void) {
    static const uint64_t expected[] = {
        0x1111111111111111, 0x2222222222222222, 0x3333333333333333, 0x4444444444444444, 0x5555555555555555,
        0x6666666666666666, 0x7777777777777777, 0x8888888888888888, 0x9999999999999999, 0x1234567812345678,
        0x2345678923456789, 0x3456789a3456789a, 0x400921fb54442d18, 1};
    int width = 16, count = 16, masks = 0;
    memset(found, 0, sizeof found);
    if (__builtin_cpu_supports("avx512f")) {
        width = 64, count = 32, masks = 7;
        with_avx512(2000000);
    } else if (__builtin_cpu_supports("avx")) {
        width = 32;
        with_avx(2000000);
    } else {
        with_sse(2000000);
    }
    for (int i = 0; i < count; i++)
        if (memcmp(found + 64 * i, pattern + 64 * i, width)) fail("a vector register changed", i);
    for (int i = 1; i <= masks; i++)
        if (memcmp(found + 2048 + 64 * i, pattern + 2048 + 64 * i, 2)) fail("a mask register changed", i);
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++)
        if (memcmp(found + 4096 + 8 * i, expected + i, 8)) fail("a general register changed", i);
}

// ---------------------------------------------------------------- waits

static void waited(long begin) {
    if (now() - begin < WAIT_NS) fail("waited too short, ns", now() - begin);
}

static void wait_once(void) {
    struct timespec time = {0, WAIT_NS};
    struct timeval interval = {0, WAIT_NS / 1000};
    struct epoll_event events[1];
    static int epoll = -1;
    sigset_t none;
    char byte;
    uint32_t seen;
    unsigned long before = handled[self];
    long begin = now(), answer;
    sigemptyset(&none);
    switch (self) {
    case SPIN:
        spin();
        break;
    case SLEEP:
        if ((answer = nanosleep(&time, NULL))) fail("nanosleep", answer);
        waited(begin);
        break;
    case FUTEX:
        seen = word;
        answer = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        if (answer && errno != EAGAIN) fail("futex", answer);
        break;
    case FUTEX_TIMED:
        answer = syscall(SYS_futex, &quiet, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
        if (answer != -1 || errno != ETIMEDOUT) fail("futex with a limit", answer);
        waited(begin);
        break;
    case PAUSE: // a signal that comes before pause() is handled: the waker then sends the next
        pause();
        if (handled[self] == before) fail("pause returned without a handler", 0);
        break;
    case SUSPEND:
        sigsuspend(&none);
        if (handled[self] != before + 1) fail("sigsuspend returned after handlers", handled[self] - before);
        break;
    case POLL:
        if ((answer = poll(NULL, 0, WAIT_NS / 1000000))) fail("poll", answer);
        waited(begin);
        break;
    case EPOLL: // may fail with EINTR whenever the process was stopped: signal(7)
        if (epoll < 0) epoll = epoll_create1(EPOLL_CLOEXEC);
        answer = epoll_wait(epoll, events, 1, WAIT_NS / 1000000);
        if (answer && errno != EINTR) fail("epoll_wait", answer);
        break;
    case READ:
        if ((answer = read(pipes[0], &byte, 1)) != 1) fail("read", answer);
        break;
    case SELECT:
        if ((answer = select(0, NULL, NULL, NULL, &interval))) fail("select", answer);
        waited(begin);
        break;
    case PPOLL: // SIGUSR1 is blocked but within
        answer = ppoll(NULL, 0, NULL, &none);
        if (answer != -1 || errno != EINTR || handled[self] != before + 1) fail("ppoll", answer);
        break;
    }
}

static void *run(void *number) {
    sigset_t usr1, mask;
    self = (intptr_t)number;
    pthread_setname_np(pthread_self(), names[self]);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    if (self == SUSPEND || self == PPOLL) pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    tids[self] = syscall(SYS_gettid);
    for (;;) {
        wait_once();
        sigemptyset(&mask);
        pthread_sigmask(SIG_BLOCK, NULL, &mask);
        if (sigismember(&mask, SIGUSR1) != (self == SUSPEND || self == PPOLL)) fail("the mask changed", 0);
        rounds[self]++;
    }
    return NULL;
}

// Wakes those who wait for something; a signal is sent again only when the one before has been handled.
static void *wake(void *unused) {
    unsigned long sent[WAITS] = {0};
    (void)unused;
    pthread_setname_np(pthread_self(), "waker");
    for (;;) {
        struct timespec time = {0, WAIT_NS / 10};
        nanosleep(&time, NULL);
        word++;
        syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        (void)!write(pipes[1], "x", 1);
        for (int i = 0; i < WAITS; i++) {
            if (i != PAUSE && i != SUSPEND && i != PPOLL) continue;
            if (handled[i] != sent[i]) continue;
            sent[i]++;
            syscall(SYS_tgkill, getpid(), tids[i], SIGUSR1);
        }
    }
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_handler = on_signal};
    pthread_t thread;
    char line[16];
    for (unsigned i = 0; i < sizeof pattern; i++) pattern[i] = i * 7 + i / 251 + 1;
    sigaction(SIGUSR1, &action, NULL);
    if (pipe(pipes)) return 1;
    for (intptr_t i = 0; i < WAITS; i++) {
        pthread_create(&thread, NULL, run, (void *)i);
        while (!tids[i]) sched_yield();
    }
    pthread_create(&thread, NULL, wake, NULL);
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        for (int i = 0; i < WAITS; i++) printf("%s=%lu ", names[i], rounds[i]);
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
