/* lane.c: worker threads of our own: one queue a lane, so that a slow disk holds up nobody else's work.
 *
 * Workers start when a job finds none idle, up to the lane's number, and then stay: asleep they cost a page of stack.
 * The lane is counted by its workers, so that one stuck in a name server's silence can be left behind (lane_abandon).
 */
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "loop/inside.h"

enum { WORKER_STACK_BYTES = 256 * 1024 };

struct lane {
    pthread_mutex_t mutex;
    pthread_cond_t has_work;
    struct lane_job *first, *last;
    int threads, started, idle, queued;
    int owners; /* the caller and each worker */
    bool is_stopping;
    char name[16];
    pthread_t workers[];
};

enum error lane_new(struct loop *any_loop, const char *name, int threads, struct lane **result)
{
    (void)any_loop;
    assert(threads > 0 && strlen(name) <= 15);
    struct lane *lane = calloc(1, sizeof *lane + (size_t)threads * sizeof(pthread_t));
    if (!lane) return ERR_NOMEM;
    pthread_mutex_init(&lane->mutex, NULL);
    pthread_cond_init(&lane->has_work, NULL);
    lane->threads = threads;
    lane->owners = 1;
    strcpy(lane->name, name);
    *result = lane;
    return OK;
}

/* With the mutex held; gives it back. */
static void drop_owner(struct lane *lane)
{
    bool is_last = --lane->owners == 0;
    pthread_mutex_unlock(&lane->mutex);
    if (!is_last) return;
    pthread_cond_destroy(&lane->has_work);
    pthread_mutex_destroy(&lane->mutex);
    free(lane);
}

static void finished(struct loop_message *message)
{
    struct lane_job *job = CONTAINER_OF(message, struct lane_job, finished);
    job->done(job);
}

static void run_job(struct lane_job *job)
{
    struct loop *loop = job->loop;
    job->work(job);
    if (!loop) return; /* the work passed the job on itself */
    job->finished.run = finished;
    loop_post(loop, &job->finished);
}

static void *worker_main(void *argument)
{
    struct lane *lane = argument;
    pthread_setname_np(pthread_self(), lane->name);
    pthread_mutex_lock(&lane->mutex);
    for (;;) {
        while (!lane->first && !lane->is_stopping) {
            lane->idle++;
            pthread_cond_wait(&lane->has_work, &lane->mutex);
            lane->idle--;
        }
        struct lane_job *job = lane->first;
        if (!job) break;
        lane->first = job->next;
        lane->queued--;
        job->next = NULL;
        pthread_mutex_unlock(&lane->mutex);
        run_job(job);
        pthread_mutex_lock(&lane->mutex);
    }
    drop_owner(lane);
    return NULL;
}

static bool start_worker(struct lane *lane)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
    sigset_t all, old; /* signals are none of a worker's business */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int status = pthread_create(&lane->workers[lane->started], &attributes, worker_main, lane);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    if (status != 0) return false;
    lane->started++;
    lane->owners++;
    return true;
}

void lane_submit(struct lane *lane, struct loop *loop, struct lane_job *job)
{
    assert(job->work);
    job->loop = loop;
    job->next = NULL;
    pthread_mutex_lock(&lane->mutex);
    assert(!lane->is_stopping);
    if (lane->queued >= lane->idle && lane->started < lane->threads && !start_worker(lane) &&
        lane->started == 0) {
        /* No thread to be had at all. Late is better than never. */
        pthread_mutex_unlock(&lane->mutex);
        run_job(job);
        return;
    }
    if (lane->first) {
        lane->last->next = job;
    } else {
        lane->first = job;
    }
    lane->last = job;
    lane->queued++;
    pthread_mutex_unlock(&lane->mutex);
    /* After the mutex is given back: a worker woken with it held would only sleep again, for that. */
    pthread_cond_signal(&lane->has_work);
}

void lane_free(struct lane *lane)
{
    if (!lane) return;
    pthread_mutex_lock(&lane->mutex);
    lane->is_stopping = true;
    int started = lane->started;
    pthread_cond_broadcast(&lane->has_work);
    pthread_mutex_unlock(&lane->mutex);
    for (int i = 0; i < started; i++) pthread_join(lane->workers[i], NULL);
    pthread_mutex_lock(&lane->mutex);
    drop_owner(lane);
}

void lane_abandon(struct lane *lane)
{
    if (!lane) return;
    pthread_mutex_lock(&lane->mutex);
    lane->is_stopping = true;
    for (int i = 0; i < lane->started; i++) pthread_detach(lane->workers[i]);
    pthread_cond_broadcast(&lane->has_work);
    drop_owner(lane);
}

void lane_lock(struct lane *lane)
{
    pthread_mutex_lock(&lane->mutex);
}

void lane_unlock(struct lane *lane)
{
    pthread_mutex_unlock(&lane->mutex);
}
