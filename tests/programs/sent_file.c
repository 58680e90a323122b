/* SPDX-License-Identifier: MIT */
/*
 * sent_file.c FILE - an open file is on its way through a socket where this program is frozen. A run moves its offset by
 * the descriptor that it receives, and by no other. Each run must find the offset at 0.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static union {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
} control;

static struct msghdr message(void)
{
	static char byte;
	static struct iovec iov = { .iov_base = &byte, .iov_len = 1 };

	return (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
}

static int send_file(int socket, int fd)
{
	struct msghdr msg = message();

	control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(socket, &msg, 0) == 1 ? 0 : -1;
}

/* Where it is frozen. The first run receives the descriptor. The later ones find no message: their socket was emptied. */
int place(int socket, int fd);
__attribute__((noinline)) int place(int socket, int fd)
{
	struct msghdr msg = message();
	int received;

	if (recvmsg(socket, &msg, MSG_DONTWAIT) != 1)
		return lseek(fd, 0, SEEK_CUR) != 0;
	memcpy(&received, CMSG_DATA(&control.head), sizeof(received));
	return lseek(received, 5, SEEK_SET) != 5;
}

int main(int argc, char **argv)
{
	int sockets[2], fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets))
		return 3;
	/* The first run counts as one that used the file, as this does. So the second one is needed. */
	for (int i = 0; i < 2; i++)
		if (send_file(sockets[0], fd))
			return 3;
	return place(sockets[1], fd);
}
