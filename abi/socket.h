/* SPDX-License-Identifier: MIT */
/* abi/socket.h - what the files of the socket calls share. */
#ifndef ABI_SOCKET_H
#define ABI_SOCKET_H

#include <sys/socket.h>

#include "abi/task.h"

/* An option of SOL_SOCKET with an int: its value, or a negative errno. */
int socket_option(int socket, int option);
/*
 * The result of a call that a kick interrupted: -EINTR if a timeout is set for it (@timeout: SO_RCVTIMEO or
 * SO_SNDTIMEO), as in Linux: signal(7). Else it is restarted.
 */
int64_t socket_interrupted(struct task *t, int socket, int timeout);
bool socket_has_timeout(int socket, int timeout);
/* ioctl(2) requests of sockets; -ENOTTY for others. */
int64_t socket_ioctl(struct task *t, int socket, uint32_t request, uint64_t arg);

#endif
