#include "runtime/base/str.h"

#include <ctype.h>
#include <stdarg.h>

struct rt_error *rt_format(char **ret, const char *format, ...)
{
	va_list args;
	char *text;
	int length;

	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0)
		return rt_error_oom();
	*ret = text;
	return NULL;
}

bool rt_str_to_u64(const char *text, uint64_t *ret)
{
	unsigned long long value;
	char *end;
	int saved = errno;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end) {
		errno = saved;
		return false;
	}
	errno = saved;
	*ret = value;
	return true;
}

bool rt_str_to_i64(const char *text, int64_t *ret)
{
	uint64_t magnitude;
	bool negative = *text == '-';

	if (!rt_str_to_u64(text + negative, &magnitude))
		return false;
	if (magnitude > (uint64_t)INT64_MAX + negative)
		return false;
	*ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	return true;
}
