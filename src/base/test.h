/* test.h: what every unit test includes: cmocka with the headers it needs before it, in the order it needs them. */
#pragma once
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
