#include "scenarios.h"
const struct scenario mremap_scenarios[] = { { .name = NULL } };
