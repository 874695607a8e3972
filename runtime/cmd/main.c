#include "runtime/cmd/dispatch.h"

int main(int argc, char **argv)
{
	return rt_dispatch(argc, argv, NULL);
}
