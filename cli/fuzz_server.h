/* SPDX-License-Identifier: MIT */
/*
 * cli/fuzz_server.h - programs that afl-cc has built: they have a fork server and write to afl-fuzz's map themselves.
 *
 * Such a program finds its map, and the input if it takes that from shared memory, in segments of the run, which are copied
 * to and from afl-fuzz's. Its fork server talks to afl-fuzz until its first fork: a thread passes the bytes on. There the
 * program is frozen, and Vellum is the server from then on.
 */
#ifndef CLI_FUZZ_SERVER_H
#define CLI_FUZZ_SERVER_H

#include <pthread.h>

#include "abi/abi.h"

#define COMMAND_FD	ABI_SERVER_FD		/* afl-fuzz's words of 4 bytes are read here, */
#define ANSWER_FD	(ABI_SERVER_FD + 1)	/* and answered there */
#define HELLO		0x80000001u	/* options follow in this word */
#define HELLO_MAP_SIZE	0x40000000u	/* the map's size less one, from bit 1 on */
#define HELLO_SHARED_INPUT 0x01000000u

struct shared {			/* a segment of afl-fuzz, and its copy in the run */
	uint8_t *at;			/* NULL: none */
	uint64_t bytes;
};

struct fuzz_server {
	bool present;			/* the program has a server */
	struct shared map, input;
	struct abi_segment segments[ABI_MAX_SEGMENTS];	/* of the run: map, input */
	int commands, answers;		/* our ends of the pipes whose other ends the program has */
	int stop;			/* an eventfd that ends the thread */
	pthread_t relay;
	bool relays;
	uint32_t hello;			/* 0: not sent yet */
};

/* Look for afl-cc's marks in the program's file, and tell its server by the environment what they say. */
bool fuzz_server_find(const char *path);
/* Attach afl-fuzz's segments, and take them out of the environment. 0, or EXIT_VELLUM after printing an error. */
int fuzz_server_attach(struct fuzz_server *s);
/* Prepare @want for a program with a server, and start the thread. 0, or EXIT_VELLUM after printing an error. */
int fuzz_server_start(struct fuzz_server *s, struct abi_repeat *want);
void fuzz_server_stop(struct fuzz_server *s);	/* the program is frozen, or has ended; may be called twice */
void fuzz_server_clear_map(struct fuzz_server *s);	/* the program's */
void fuzz_server_give_map(const struct fuzz_server *s);	/* to afl-fuzz, which has cleared its own */
void fuzz_server_take_input(const struct fuzz_server *s);

#endif
