/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_sockopt.c - setsockopt(2), getsockopt(2) and ioctl(2) of sockets. Only the listed options are passed to the
 * host: values of others contain addresses or descriptors, or let the host's kernel keep memory that a program chooses.
 */
#define _GNU_SOURCE
#include "abi/socket.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "abi/sockaddr.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MAX_VALUE	4096u		/* bytes of an option */
#define MAX_CONF	65536u		/* bytes of SIOCGIFCONF */

/* Of <linux/in.h>, <linux/in6.h>, <linux/icmp.h> and <linux/if_packet.h>, which exclude headers of the C library. */
#define ICMP_FILTER_OPT	1
#define ICMP6_FILTER_OPT 1
#define ADDR_PREFERENCES 72
#define IPV6_FREEBIND_OPT 78
#define SOL_PACKET_LEVEL 263
#define SOL_NETLINK_LEVEL 270

enum { GET = 1, SET = 2, BOTH = 3 };

struct option {
	short level, name;
	unsigned char may;
};

#define S(name) SOL_SOCKET, name
#define I4(name) IPPROTO_IP, name
#define I6(name) IPPROTO_IPV6, name
#define T(name) IPPROTO_TCP, name

static const struct option options[] = {
	{ S(SO_DEBUG), BOTH }, { S(SO_REUSEADDR), BOTH }, { S(SO_TYPE), GET }, { S(SO_ERROR), GET },
	{ S(SO_DONTROUTE), BOTH }, { S(SO_BROADCAST), BOTH }, { S(SO_SNDBUF), BOTH }, { S(SO_RCVBUF), BOTH },
	{ S(SO_KEEPALIVE), BOTH }, { S(SO_OOBINLINE), BOTH }, { S(SO_NO_CHECK), BOTH }, { S(SO_PRIORITY), BOTH },
	{ S(SO_LINGER), BOTH }, { S(SO_BSDCOMPAT), BOTH }, { S(SO_REUSEPORT), BOTH }, { S(SO_PASSCRED), BOTH },
	{ S(SO_PEERCRED), GET }, { S(SO_RCVLOWAT), BOTH }, { S(SO_SNDLOWAT), BOTH }, { S(SO_RCVTIMEO), BOTH },
	{ S(SO_SNDTIMEO), BOTH }, { S(SO_BINDTODEVICE), BOTH }, { S(SO_DETACH_FILTER), SET },
	{ S(SO_TIMESTAMP), BOTH }, { S(SO_TIMESTAMPNS), BOTH }, { S(SO_TIMESTAMPING), BOTH },
	{ S(SO_ACCEPTCONN), GET }, { S(SO_PEERSEC), GET }, { S(SO_MARK), BOTH }, { S(SO_PROTOCOL), GET },
	{ S(SO_DOMAIN), GET }, { S(SO_RXQ_OVFL), BOTH }, { S(SO_PEEK_OFF), BOTH }, { S(SO_LOCK_FILTER), BOTH },
	{ S(SO_SELECT_ERR_QUEUE), BOTH }, { S(SO_BUSY_POLL), BOTH }, { S(SO_INCOMING_CPU), BOTH },
	{ S(SO_MEMINFO), GET }, { S(SO_COOKIE), GET }, { S(SO_PEERGROUPS), GET },

	{ I4(IP_TOS), BOTH }, { I4(IP_TTL), BOTH }, { I4(IP_HDRINCL), BOTH }, { I4(IP_OPTIONS), BOTH },
	{ I4(IP_ROUTER_ALERT), BOTH }, { I4(IP_RECVOPTS), BOTH }, { I4(IP_RETOPTS), BOTH }, { I4(IP_PKTINFO), BOTH },
	{ I4(IP_MTU_DISCOVER), BOTH }, { I4(IP_RECVERR), BOTH }, { I4(IP_RECVTTL), BOTH }, { I4(IP_RECVTOS), BOTH },
	{ I4(IP_MTU), GET }, { I4(IP_FREEBIND), BOTH }, { I4(IP_TRANSPARENT), BOTH }, { I4(IP_ORIGDSTADDR), BOTH },
	{ I4(IP_MINTTL), BOTH }, { I4(IP_NODEFRAG), BOTH }, { I4(IP_BIND_ADDRESS_NO_PORT), BOTH },
	{ I4(IP_MULTICAST_IF), BOTH }, { I4(IP_MULTICAST_TTL), BOTH }, { I4(IP_MULTICAST_LOOP), BOTH },
	{ I4(IP_ADD_MEMBERSHIP), SET }, { I4(IP_DROP_MEMBERSHIP), SET }, { I4(IP_UNBLOCK_SOURCE), SET },
	{ I4(IP_BLOCK_SOURCE), SET }, { I4(IP_ADD_SOURCE_MEMBERSHIP), SET }, { I4(IP_DROP_SOURCE_MEMBERSHIP), SET },
	{ I4(MCAST_JOIN_GROUP), SET }, { I4(MCAST_LEAVE_GROUP), SET }, { I4(MCAST_BLOCK_SOURCE), SET },
	{ I4(MCAST_UNBLOCK_SOURCE), SET }, { I4(MCAST_JOIN_SOURCE_GROUP), SET }, { I4(MCAST_LEAVE_SOURCE_GROUP), SET },
	{ I4(IP_MULTICAST_ALL), BOTH }, { I4(IP_UNICAST_IF), BOTH },

	{ I6(IPV6_CHECKSUM), BOTH }, { I6(IPV6_UNICAST_HOPS), BOTH }, { I6(IPV6_MULTICAST_IF), BOTH },
	{ I6(IPV6_MULTICAST_HOPS), BOTH }, { I6(IPV6_MULTICAST_LOOP), BOTH }, { I6(IPV6_JOIN_GROUP), SET },
	{ I6(IPV6_LEAVE_GROUP), SET }, { I6(IPV6_MTU_DISCOVER), BOTH }, { I6(IPV6_MTU), BOTH },
	{ I6(IPV6_RECVERR), BOTH }, { I6(IPV6_V6ONLY), BOTH }, { I6(IPV6_JOIN_ANYCAST), SET },
	{ I6(IPV6_LEAVE_ANYCAST), SET }, { I6(IPV6_MULTICAST_ALL), BOTH }, { I6(MCAST_JOIN_GROUP), SET },
	{ I6(MCAST_LEAVE_GROUP), SET }, { I6(MCAST_BLOCK_SOURCE), SET }, { I6(MCAST_UNBLOCK_SOURCE), SET },
	{ I6(MCAST_JOIN_SOURCE_GROUP), SET }, { I6(MCAST_LEAVE_SOURCE_GROUP), SET }, { I6(IPV6_RECVPKTINFO), BOTH },
	{ I6(IPV6_RECVHOPLIMIT), BOTH }, { I6(IPV6_RECVHOPOPTS), BOTH }, { I6(IPV6_RECVRTHDR), BOTH },
	{ I6(IPV6_RECVDSTOPTS), BOTH }, { I6(IPV6_RECVPATHMTU), BOTH }, { I6(IPV6_DONTFRAG), BOTH },
	{ I6(IPV6_RECVTCLASS), BOTH }, { I6(IPV6_TCLASS), BOTH }, { I6(IPV6_AUTOFLOWLABEL), BOTH },
	{ I6(ADDR_PREFERENCES), BOTH }, { I6(IPV6_MINHOPCOUNT), BOTH }, { I6(IPV6_RECVORIGDSTADDR), BOTH },
	{ I6(IPV6_TRANSPARENT), BOTH }, { I6(IPV6_UNICAST_IF), BOTH }, { I6(IPV6_FREEBIND_OPT), BOTH },

	{ T(TCP_NODELAY), BOTH }, { T(TCP_MAXSEG), BOTH }, { T(TCP_CORK), BOTH }, { T(TCP_KEEPIDLE), BOTH },
	{ T(TCP_KEEPINTVL), BOTH }, { T(TCP_KEEPCNT), BOTH }, { T(TCP_SYNCNT), BOTH }, { T(TCP_LINGER2), BOTH },
	{ T(TCP_DEFER_ACCEPT), BOTH }, { T(TCP_WINDOW_CLAMP), BOTH }, { T(TCP_INFO), GET }, { T(TCP_QUICKACK), BOTH },
	{ T(TCP_CONGESTION), BOTH }, { T(TCP_THIN_LINEAR_TIMEOUTS), BOTH }, { T(TCP_USER_TIMEOUT), BOTH },
	{ T(TCP_FASTOPEN), BOTH }, { T(TCP_TIMESTAMP), BOTH }, { T(TCP_NOTSENT_LOWAT), BOTH }, { T(TCP_CC_INFO), GET },
	{ T(TCP_SAVE_SYN), BOTH }, { T(TCP_SAVED_SYN), GET }, { T(TCP_FASTOPEN_CONNECT), BOTH }, { T(TCP_INQ), BOTH },

	{ IPPROTO_UDP, UDP_CORK, BOTH }, { IPPROTO_UDP, UDP_SEGMENT, BOTH }, { IPPROTO_UDP, UDP_GRO, BOTH },
	{ IPPROTO_UDP, UDP_NO_CHECK6_TX, BOTH }, { IPPROTO_UDP, UDP_NO_CHECK6_RX, BOTH },
	{ IPPROTO_RAW, ICMP_FILTER_OPT, BOTH }, { IPPROTO_ICMPV6, ICMP6_FILTER_OPT, BOTH },
	{ SOL_NETLINK_LEVEL, NETLINK_ADD_MEMBERSHIP, SET }, { SOL_NETLINK_LEVEL, NETLINK_DROP_MEMBERSHIP, SET },
	{ SOL_NETLINK_LEVEL, NETLINK_PKTINFO, BOTH }, { SOL_NETLINK_LEVEL, NETLINK_BROADCAST_ERROR, BOTH },
	{ SOL_NETLINK_LEVEL, NETLINK_NO_ENOBUFS, BOTH }, { SOL_NETLINK_LEVEL, NETLINK_CAP_ACK, BOTH },
	{ SOL_NETLINK_LEVEL, NETLINK_EXT_ACK, BOTH }, { SOL_NETLINK_LEVEL, NETLINK_GET_STRICT_CHK, BOTH },
	{ SOL_PACKET_LEVEL, 1, SET }, { SOL_PACKET_LEVEL, 2, SET },	/* PACKET_ADD_MEMBERSHIP, DROP_MEMBERSHIP */
};

static bool is_listed(int level, int name, int may)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].level == level && options[i].name == name)
			return options[i].may & may;
	return false;
}

int64_t sys_setsockopt(struct task *t, int fd, int level, int name, uint64_t value, uint32_t len)
{
	int host = fd_host(t, (uint64_t)fd);
	char buf[MAX_VALUE];

	if (host < 0)
		return host;
	if (socket_option(host, SO_TYPE) < 0)
		return -ENOTSOCK;
	if ((int)len < 0)
		return -EINVAL;
	if (!is_listed(level, name, SET))
		return -ENOPROTOOPT;
	if (len > sizeof(buf))
		len = sizeof(buf);
	if (user_read(t, buf, value, len))
		return -EFAULT;
	return setsockopt(host, level, name, buf, len) ? -errno : 0;
}

int64_t sys_getsockopt(struct task *t, int fd, int level, int name, uint64_t value, uint64_t len_addr)
{
	int host = fd_host(t, (uint64_t)fd), len;
	char buf[MAX_VALUE];
	socklen_t got;

	if (host < 0)
		return host;
	if (socket_option(host, SO_TYPE) < 0)
		return -ENOTSOCK;
	if (user_read(t, &len, len_addr, sizeof(len)))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	if (!is_listed(level, name, GET))
		return -ENOPROTOOPT;
	got = (size_t)len < sizeof(buf) ? (socklen_t)len : sizeof(buf);
	memset(buf, 0, sizeof(buf));
	if (getsockopt(host, level, name, buf, &got)) {
		int err = errno;

		len = (int)got;
		if (err == ERANGE)	/* SO_PEERGROUPS tells the length */
			user_write(t, len_addr, &len, sizeof(len));
		return -err;
	}
	if (level == SOL_SOCKET && name == SO_PEERCRED)		/* as a process in another PID namespace */
		memset(buf, 0, sizeof(pid_t));
	len = (int)got;
	if (user_write(t, value, buf, got < sizeof(buf) ? got : sizeof(buf)))
		return -EFAULT;
	return user_write(t, len_addr, &len, sizeof(len));
}

/* --- ioctl(2): netdevice(7), ip(7), tcp(7) --- */

struct guest_ifconf {
	int len, pad;
	uint64_t buf;
};

static int64_t list_interfaces(struct task *t, int socket, uint64_t arg)
{
	struct guest_ifconf conf;
	struct ifconf host;
	int64_t err;

	if (user_read(t, &conf, arg, sizeof(conf)))
		return -EFAULT;
	if (conf.len < 0)
		return -EINVAL;
	host.ifc_len = (unsigned)conf.len < MAX_CONF ? conf.len : (int)MAX_CONF;
	host.ifc_buf = conf.buf ? calloc(1, MAX_CONF) : NULL;
	if (conf.buf && !host.ifc_buf)
		return -ENOMEM;
	err = ioctl(socket, SIOCGIFCONF, &host) ? -errno : 0;
	if (!err && conf.buf)
		err = user_write(t, conf.buf, host.ifc_buf, (uint64_t)host.ifc_len);
	conf.len = host.ifc_len;
	if (!err)
		err = user_write(t, arg, &conf, sizeof(conf));
	free(host.ifc_buf);
	return err;
}

int64_t socket_ioctl(struct task *t, int socket, uint32_t request, uint64_t arg)
{
	static const uint32_t of_interface[] = {	/* struct ifreq without a pointer */
		SIOCGIFNAME, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFDSTADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFMETRIC,
		SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFTXQLEN, SIOCGIFMAP,
	};
	struct ifreq ifr;
	int value = 0;

	if (socket_option(socket, SO_TYPE) < 0)
		return -ENOTTY;
	if (request == SIOCGIFCONF)
		return list_interfaces(t, socket, arg);
	if (request == SIOCOUTQ || request == SIOCATMARK)
		return ioctl(socket, request, &value) ? -errno : user_write(t, arg, &value, sizeof(value));
	for (size_t i = 0; i < sizeof(of_interface) / sizeof(of_interface[0]); i++) {
		if (of_interface[i] != request)
			continue;
		if (user_read(t, &ifr, arg, sizeof(ifr)))
			return -EFAULT;
		return ioctl(socket, request, &ifr) ? -errno : user_write(t, arg, &ifr, sizeof(ifr));
	}
	return -ENOTTY;
}
