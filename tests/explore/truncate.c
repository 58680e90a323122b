#include "scenarios.h"
const struct scenario truncate_scenarios[] = { { .name = NULL } };
