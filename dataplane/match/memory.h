// The table's memory: a caller's resource, asked without exceptions and counted.
//
// Thread safety: the writer's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>

namespace flowtap::dataplane::match {

class Memory {
  public:
    explicit Memory(std::pmr::memory_resource& resource) : resource_(resource) {}

    /// Null when there is none.
    void* take(std::size_t bytes, std::size_t alignment) noexcept {
        try {
            void* const block = resource_.allocate(bytes, alignment);
            bytes_ += bytes;
            return block;
        } catch (const std::bad_alloc&) {
            return nullptr;
        }
    }

    /// The same numbers as in take.
    void give(void* block, std::size_t bytes, std::size_t alignment) noexcept {
        resource_.deallocate(block, bytes, alignment);
        bytes_ -= bytes;
    }

    std::uint64_t bytes() const { return bytes_; }

  private:
    std::pmr::memory_resource& resource_;
    std::uint64_t bytes_ = 0;
};

}  // namespace flowtap::dataplane::match
