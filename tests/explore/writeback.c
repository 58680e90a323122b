#include "scenarios.h"
const struct scenario writeback_scenarios[] = { { .name = NULL } };
