/* client.h: how a program of ours talks to Kafka brokers. */
#pragma once
#include "client/bootstrap.h"
#include "client/connection.h"
