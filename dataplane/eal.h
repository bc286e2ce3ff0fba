// The DPDK environment: started once, cleaned up with its owner.
#pragma once

#include "dataplane/failure.h"

#include <span>
#include <string>

namespace flowtap::dataplane {

class Eal {
  public:
    /// DPDK's messages of warning level and above go to this process's log from here on.
    static Result<Eal> start(std::span<const std::string> arguments);

    Eal(Eal&& other) noexcept : started_(other.started_) { other.started_ = false; }
    Eal& operator=(Eal&&) = delete;
    ~Eal();

  private:
    Eal() = default;
    bool started_ = true;
};

}  // namespace flowtap::dataplane
