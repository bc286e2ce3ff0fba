#include "lib/criterion.h"

namespace flowtap::lib {

std::size_t term_count(const Criterion& criterion) {
    return criterion.source_address.size() + criterion.dest_address.size() + criterion.protocol.size() +
           criterion.source_port.size() + criterion.dest_port.size() + criterion.icmp_type.size() +
           criterion.icmp_code.size() + (criterion.either_address ? 1U : 0U);
}

}  // namespace flowtap::lib
