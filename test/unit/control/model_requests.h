// Requests of chance, good and bad, as many kinds of clients would write them: what each means, and its
// bytes.
#pragma once

#include "test/unit/control/model.h"
#include "test/unit/control/model_ask.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flowtap::test::model {

/// The same numbers everywhere for the same seed.
class Chance {
  public:
    explicit Chance(std::uint64_t seed) : engine_{seed} {}

    /// 0..count-1
    std::uint64_t below(std::uint64_t count) { return engine_() % count; }
    std::uint64_t between(std::uint64_t first, std::uint64_t last) { return first + below(last - first + 1); }
    bool percent(unsigned share) { return below(100) < share; }
    template <typename Item>
    const Item& of(const std::vector<Item>& items) {
        return items[below(items.size())];
    }
    std::string_view of(std::initializer_list<std::string_view> items) {
        return items.begin()[below(items.size())];
    }

  private:
    std::mt19937_64 engine_;
};

/// Who speaks, and what about the request is settled.
struct Speaker {
    int source = 0;
    std::string user;
    std::optional<std::uint64_t> seq;
    std::optional<Verb> verb = std::nullopt;
    /// IDs are chosen in ways that say the same whatever IDs are given meanwhile.
    bool plain_ids = false;
    bool may_be_rejected = true;  ///< signed wrongly, or by nobody known
};

/// `model`: so that requests speak of what there is, was, and is another's.
Ask make_request(Chance& chance, const Speaker& speaker, const Model& model);

}  // namespace flowtap::test::model
