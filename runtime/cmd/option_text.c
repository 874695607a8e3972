#include "runtime/cmd/option_text.h"

#include <string.h>

void rt_option_print(FILE *stream, const struct rt_option *option, int width)
{
	char letter[5] = "    ";
	int words;

	if (option->flags & RT_OPTION_HIDDEN)
		return;
	if (option->letter)
		snprintf(letter, sizeof(letter), "-%c, ", option->letter);
	words = fprintf(stream, "  %s--%s%s%s", letter, option->name, option->argument ? " " : "",
			option->argument ? option->argument : "");
	if (words >= width) {
		fputc('\n', stream);
		words = 0;
	}
	fprintf(stream, "%*s%s%s\n", width - words, "", option->help, option->kind == RT_OPTION_LIST ? "; may be repeated" : "");
}

void rt_manual_print_part(FILE *stream, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		bool line_start = i == 0 || text[i - 1] == '\n';

		if (line_start && (text[i] == '.' || text[i] == '\''))
			fputs("\\&", stream);
		if (text[i] == '\\')
			fputs("\\e", stream);
		else if (text[i] == '-')
			fputs("\\-", stream);
		else if (text[i] == '\'')
			fputs("\\(aq", stream);
		else
			fputc(text[i], stream);
	}
}

void rt_manual_print(FILE *stream, const char *text)
{
	rt_manual_print_part(stream, text, strlen(text));
}

void rt_option_print_manual(FILE *stream, const struct rt_option *options)
{
	for (; options && options->name; options++) {
		if (options->flags & RT_OPTION_HIDDEN)
			continue;
		fputs(".TP\n", stream);
		if (options->letter)
			fprintf(stream, "\\fB\\-%c\\fR, ", options->letter);
		fputs("\\fB\\-\\-", stream);
		rt_manual_print(stream, options->name);
		fputs("\\fR", stream);
		if (options->argument) {
			fputs(" \\fI", stream);
			rt_manual_print(stream, options->argument);
			fputs("\\fR", stream);
		}
		fputc('\n', stream);
		rt_manual_print(stream, options->help);
		fputs(options->kind == RT_OPTION_LIST ? "; may be repeated.\n" : ".\n", stream);
	}
}
