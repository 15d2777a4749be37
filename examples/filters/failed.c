// Keeps system calls that failed, and says for each which error it was, by env.log.
//
// Built as slow.c is, with -Wl,--allow-undefined added for the import.

__attribute__((import_module("env"), import_name("log"))) void log_line(const char *text, int len);

__attribute__((export_name("filter"))) int filter(const unsigned char *event, int len)
{
	char line[] = "errno 0000";
	long long result = *(const long long *)(event + 80);

	(void)len;
	if (result >= 0 || result < -4095)
		return 0;
	for (int at = sizeof(line) - 2, rest = (int)-result; rest && at > 5; at--, rest /= 10)
		line[at] = (char)('0' + rest % 10);
	log_line(line, sizeof(line) - 1);
	return 1;
}
