#include "dataplane/match/quiescence.h"

#include <rte_rcu_qsbr.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace flowtap::dataplane::match {

void Quiescence::Free::operator()(rte_rcu_qsbr* memory) const noexcept {
    std::free(memory);
}

Quiescence::Quiescence(std::uint32_t max_readers) : max_readers_(max_readers) {
    const std::size_t bytes = rte_rcu_qsbr_get_memsize(max_readers);
    void* const memory = std::aligned_alloc(RTE_CACHE_LINE_SIZE, bytes);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    std::memset(memory, 0, bytes);
    variable_.reset(static_cast<rte_rcu_qsbr*>(memory));
    if (bytes == 1 || rte_rcu_qsbr_init(variable_.get(), max_readers) != 0) {
        throw std::bad_alloc();
    }
}

Quiescence::~Quiescence() = default;

bool Quiescence::join(std::uint32_t reader) noexcept {
    if (reader >= max_readers_ || rte_rcu_qsbr_thread_register(variable_.get(), reader) != 0) {
        return false;
    }
    rte_rcu_qsbr_thread_online(variable_.get(), reader);
    return true;
}

void Quiescence::leave(std::uint32_t reader) noexcept {
    if (reader < max_readers_) {
        rte_rcu_qsbr_thread_offline(variable_.get(), reader);
        rte_rcu_qsbr_thread_unregister(variable_.get(), reader);
    }
}

void Quiescence::quiescent(std::uint32_t reader) noexcept {
    rte_rcu_qsbr_quiescent(variable_.get(), reader);
}

Period Quiescence::next_period() noexcept {
    return Period{rte_rcu_qsbr_start(variable_.get())};
}

bool Quiescence::passed(Period period) noexcept {
    return rte_rcu_qsbr_check(variable_.get(), static_cast<std::uint64_t>(period), false) == 1;
}

}  // namespace flowtap::dataplane::match
