// Counts what operator new hands out in the test executable.
#pragma once

#include <cstddef>

namespace flowtap::test {

class Allocations {
  public:
    Allocations();
    /// Bytes asked for since this object was made.
    std::size_t bytes_since() const;

  private:
    std::size_t start_;
};

}  // namespace flowtap::test
