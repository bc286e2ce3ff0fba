// Memory for tables that workers walk at random: large blocks come on huge pages where the kernel has them to
// give, so that a look-up among a million taps does not miss the TLB as well.
#pragma once

#include <cstddef>
#include <memory_resource>

namespace flowtap::dataplane {

/// Blocks of a huge page and more are mapped on their own, aligned to it; smaller ones come from operator
/// new. Thread safety: as of operator new.
class LargePages : public std::pmr::memory_resource {
  public:
    static constexpr std::size_t page = std::size_t{2} << 20U;

  private:
    void* do_allocate(std::size_t bytes, std::size_t alignment) override;
    void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
    bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

}  // namespace flowtap::dataplane
