/* SPDX-License-Identifier: MIT */
/* abi/text.c - escape text of programs for messages; see text.h. */
#define _GNU_SOURCE
#include "abi/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t utf8_decode(const char *text, uint32_t *character)
{
	static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *s = (const unsigned char *)text;
	size_t n = *s < 0x80 ? 1 : *s >> 5 == 6 ? 2 : *s >> 4 == 14 ? 3 : *s >> 3 == 30 ? 4 : 0;

	if (n <= 1) {
		*character = *s;
		return n;
	}
	*character = *s & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)	/* also a NUL */
			return 0;
		*character = *character << 6 | (s[i] & 0x3f);
	}
	return *character < smallest[n] || *character > 0x10ffff || *character >> 11 == 0xd800 >> 11 ? 0 : n;
}

/* Control characters, marks and overrides of direction, separators of lines and paragraphs, the byte order mark. */
static bool is_deceptive(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static const char *with_backslash(char c, char buf[16])
{
	snprintf(buf, 16, "\\%c", c);
	return buf;
}

static const char *escape(uint32_t c, size_t length, unsigned char byte, char buf[16])
{
	if (c == '\n' || c == '\t' || c == '\r')
		snprintf(buf, 16, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
	else if (length <= 1)
		snprintf(buf, 16, "\\x%02x", byte);
	else
		snprintf(buf, 16, "\\u{%x}", c);
	return buf;
}

/* @quoted: characters that are written after a backslash. */
static const char *print_escaped(const char *text, const char *quoted, char *buf, size_t size)
{
	size_t used = 0;

	while (*text) {
		char special[16];
		const char *out = text;
		uint32_t c;
		size_t n = utf8_decode(text, &c), len = n;

		if (n == 1 && strchr(quoted, *text))
			out = with_backslash(*text, special), len = 2;
		else if (!n || is_deceptive(c))
			out = escape(n ? c : 0, n, (unsigned char)*text, special), len = strlen(out);
		if (len >= size - used)
			break;
		memcpy(buf + used, out, len);
		used += len;
		text += n ? n : 1;
	}
	buf[used] = 0;
	return buf;
}

const char *printable(const char *text, char *buf, size_t size)
{
	return print_escaped(text, "\\", buf, size);
}

const char *printable_quoted(const char *text, char *buf, size_t size)
{
	return print_escaped(text, "\\\"", buf, size);
}
