// DPDK's headers, all that we use of them. They come as system headers (engine/meson.build), because they do not
// survive -Wconversion -Wshadow; rte_config.h comes first, as DPDK's own flags would have had it.
#pragma once

#include <rte_config.h>
//
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_pause.h>
#include <rte_prefetch.h>
