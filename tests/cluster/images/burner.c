/* burner [THREADS [MILLI]]: threads that need so many millicores each, or BURN_THREADS and BURN_MILLI.
 *
 * In every window of 100 ms a thread uses its share of CPU time and sleeps through the rest; what it could not use
 * because it was throttled is lost, not made up for. 1000 and more burns without a pause. The file that BURN_FILE
 * names, if there is one, holds another number of millicores, and is read in every window.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_NS 100000000LL

static long milli;

static long long now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long wanted_milli(void) {
    const char *path = getenv("BURN_FILE");
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    long wanted = milli;
    if (file != NULL) {
        if (fscanf(file, "%ld", &wanted) != 1)
            wanted = milli;
        fclose(file);
    }
    return wanted;
}

static void *burn(void *unused) {
    (void)unused;
    for (;;) {
        long long busy_ns = WINDOW_NS / 1000 * wanted_milli();
        long long next_ns = (now_ns(CLOCK_MONOTONIC) / WINDOW_NS + 1) * WINDOW_NS;
        long long ends_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) + busy_ns;
        while (now_ns(CLOCK_THREAD_CPUTIME_ID) < ends_ns) {
        }
        if (busy_ns < WINDOW_NS) {
            struct timespec next = {next_ns / 1000000000LL, next_ns % 1000000000LL};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        }
    }
    return NULL;
}

static void end(int number) {
    (void)number;
    _exit(0);
}

static long number(int argc, char **argv, int index, const char *name, long otherwise) {
    const char *text = argc > index ? argv[index] : getenv(name);
    return text == NULL ? otherwise : atol(text);
}

int main(int argc, char **argv) {
    long threads = number(argc, argv, 1, "BURN_THREADS", 1);
    milli = number(argc, argv, 2, "BURN_MILLI", 1000);
    /* The first process of a container has no default handlers. */
    signal(SIGTERM, end);
    signal(SIGINT, end);
    for (long started = 1; started < threads; started++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, burn, NULL) != 0)
            return 1;
    }
    burn(NULL);
}
