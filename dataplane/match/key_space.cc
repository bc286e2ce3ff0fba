#include "dataplane/match/key_space.h"

namespace flowtap::dataplane::match {
namespace {

// SplitMix64: spreads one seed over as many numbers as are asked for.
class Spread {
  public:
    explicit Spread(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9e37'79b9'7f4a'7c15;
        std::uint64_t value = state_;
        value = (value ^ (value >> 30)) * 0xbf58'476d'1ce4'e5b9;
        value = (value ^ (value >> 27)) * 0x94d0'49bb'1331'11eb;
        return value ^ (value >> 31);
    }

  private:
    std::uint64_t state_;
};

}  // namespace

KeySpace::KeySpace(std::uint64_t seed) {
    Spread spread(seed);
    fold_high_ = spread.next();
    fold_low_ = spread.next();
    for (std::uint32_t& salt : salts_) {
        salt = static_cast<std::uint32_t>(spread.next());
    }
}

}  // namespace flowtap::dataplane::match
