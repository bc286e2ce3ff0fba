// The DTCP service with all of the process behind it: a script of what clients, the dataplane, the clock and
// the power supply do, and what must hold after each step whatever they do.
//
// The input is a list of steps, each behind a byte 0x1e: a letter, a digit (or lower-case letter) for its
// argument, and text. The steps are in World::step(). Text is signed where the step says so, which no fuzzer
// finds out by itself; "$3" in it is the Criteria-ID of the fourth tap that was ever there.
#include "control/datagram_service.h"
#include "lib/dtcp/framing.h"
#include "lib/dtcp/response_reader.h"
#include "test/fuzz/dtcp_fuzz.h"
#include "test/unit/control/box.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {
namespace {

namespace dtcp = lib::dtcp;
using control::SourceIndex;

constexpr char separator = '\x1e';
constexpr std::size_t most_steps = 48;
constexpr std::size_t most_clients = 6;
constexpr std::array<std::uint64_t, 8> times{100, 300, 1000, 2000, 5100, 10'000, 31'000, 61'000};

/// An account, and the source that it may speak as.
struct Account {
    const char* user;
    std::optional<SourceIndex> source;
};
constexpr std::array<Account, 4> accounts{
    {{"a", SourceIndex{0}}, {"b", SourceIndex{1}}, {"officer", SourceIndex{1}}, {"nobody", std::nullopt}}};

dtcp::Hmac& key(SourceIndex source) {
    static std::array<dtcp::Hmac, 2> keys = [] {
        const auto make = [](std::string_view text) {
            return dtcp::Hmac::create({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()})
                .value();
        };
        return std::array{make("key-a"), make("key-b")};
    }();
    return keys[static_cast<std::size_t>(source)];
}

/// A session as its client sees it.
struct Client {
    control::SessionId session{};
    Account account;
    std::size_t authentic = 0;  ///< messages that were given, and bear a good signature
    std::size_t answers = 0;
    std::string given;     ///< all bytes that the service took
    std::string received;  ///< not a whole message yet
};

class World {
  public:
    World() { begin(); }

    void step(char what, std::size_t argument, std::string_view text) {
        switch (what) {
            case 'o':
                open(argument);
                break;
            case 'm':
                say(argument, signed_text(text, source_of(argument)));
                break;
            case 's':
                say(argument, std::string{text});
                break;
            case 'f':
                say(argument, signed_text(text, argument % 2 == 0 ? SourceIndex{0} : SourceIndex{1}));
                break;
            case 'r':
                hear(argument);
                break;
            case 'e':
                end_input(argument);
                break;
            case 'c':
                close(argument);
                break;
            case 'u':
                datagram(signed_text(text, SourceIndex{0}), argument % 2 == 0);
                break;
            case 'v':
                datagram(std::string{text}, argument % 2 == 0);
                break;
            case 't':
                box_.pass(times[argument % times.size()]);
                break;
            case 'p':
                box_.paused = argument % 2 == 0;
                break;
            case 'x':
                box_.refusing = argument % 2 == 0;
                break;
            case 'y':
                box_.poison = static_cast<std::uint32_t>(argument % 8);
                break;
            case 'n':
                traffic(argument, text.size());
                break;
            case 'd':
                dataplane(argument);
                break;
            case 'k':
                restart(argument, text);
                break;
            default:
                return;
        }
        look();
    }

    /// Nothing is in the way any more, and nobody waits longer than he must; every client reads what is left
    /// and goes.
    void end() {
        box_.paused = false;
        box_.refusing = false;
        box_.poison.reset();
        box_.pass(control::Tasking::patience / 1'000'000 + 2000);
        for (std::size_t i = clients_.size(); i-- > 0;) {
            hear(i);
            close(i);
        }
        look();
        require(box_.service().sessions() == 0, "no session is left, of a datagram neither");
    }

  private:
    void begin() {
        store_ = box_.sequences();
        require(store_->record_new().has_value(), "the sequence records can be made");
        udp_.emplace(box_.service(), box_.sources(), *store_);
    }

    Client* client(std::size_t argument) {
        return clients_.empty() ? nullptr : &clients_[argument % clients_.size()];
    }

    SourceIndex source_of(std::size_t argument) {
        const auto* const its = client(argument);
        return its == nullptr ? SourceIndex{0} : its->account.source.value_or(SourceIndex{0});
    }

    std::string signed_text(std::string_view text, SourceIndex source) const {
        std::string message;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const bool names = text[i] == '$' && i + 1 < text.size() && text[i + 1] >= '0' &&
                               text[i + 1] <= '9' && !seen_.empty();
            if (names) {
                message += std::to_string(seen_[static_cast<std::size_t>(text[++i] - '0') % seen_.size()]);
            } else {
                message += text[i];
            }
        }
        if (!message.ends_with('\n')) {
            message += "\r\n";
        }
        key(source).sign(message);
        return message;
    }

    void open(std::size_t argument) {
        if (clients_.size() < most_clients) {
            const auto& account = accounts[argument % accounts.size()];
            clients_.push_back(
                {.session = box_.open(account.user), .account = account, .given = {}, .received = {}});
        }
    }

    void say(std::size_t argument, const std::string& bytes) {
        if (auto* const its = client(argument); its != nullptr && box_.service().wants_input(its->session)) {
            its->given += bytes;
            box_.send(its->session, bytes);
        }
    }

    void hear(std::size_t argument) {
        if (auto* const its = client(argument)) {
            its->received += box_.take(its->session);
            judge(*its);
        }
    }

    void end_input(std::size_t argument) {
        if (auto* const its = client(argument); its != nullptr && box_.service().wants_input(its->session)) {
            box_.service().end_input(its->session, box_.now);
        }
    }

    void close(std::size_t argument) {
        if (auto* const its = client(argument)) {
            box_.service().close(its->session);
            clients_.erase(clients_.begin() + (its - clients_.data()));
        }
    }

    void datagram(const std::string& bytes, bool written) {
        const auto give = [&] {
            udp_->receive({bytes,
                           {{lib::Family::ipv4, {203, 0, 113, 9}}, 4000},
                           {lib::Family::ipv4, {192, 0, 2, 50}},
                           3,
                           1},
                          box_.now);
        };
        give();
        const bool accepted = udp_->commit_wanted();
        while (udp_->commit_wanted()) {
            static_cast<void>(udp_->take_changes());
            udp_->committed(written, box_.now);
        }
        collect();
        if (accepted) {
            require(key(SourceIndex{0}).verify(dtcp::parse_request(bytes)),
                    "only what is authentic is accepted");
            give();
            require(!udp_->commit_wanted(), "the same datagram is not accepted again");
        }
    }

    void collect() {
        udp_->pump(box_.service().take_touched(), box_.now);
        for (const auto& answer : udp_->take_answers()) {
            require(dtcp::read_response(answer.bytes, key(SourceIndex{0})).has_value(),
                    "a datagram is a well-formed, signed message of its own");
        }
        static_cast<void>(udp_->take_events());
        static_cast<void>(udp_->take_rollovers());
    }

    void traffic(std::size_t argument, std::size_t size) {
        const auto taps = box_.installed();
        if (box_.is_up() && !taps.empty()) {
            const std::size_t packets = 1 + size % 16;
            box_.count(taps[argument % taps.size()], packets, packets * (40 + size * 8));
        }
    }

    void dataplane(std::size_t argument) {
        if (argument % 2 == 0 && box_.is_up()) {
            box_.dataplane_dies();
        } else if (argument % 2 == 1 && !box_.is_up()) {
            box_.dataplane_starts();
        }
    }

    /// Control dies, perhaps before it hears what became of a last request; perhaps the dataplane with it.
    void restart(std::size_t argument, std::string_view last) {
        const auto before = box_.installed();
        const bool settled = quiet();
        if (argument % 3 == 1) {
            box_.unheard = true;
            say(argument, signed_text(last, source_of(argument)));
            box_.unheard = false;  // the next process hears
        }
        clients_.clear();
        udp_.reset();
        if (argument % 3 == 2) {
            box_.both_restart();
        } else {
            box_.control_restarts();
        }
        begin();
        box_.settle();
        if (settled && quiet() && argument % 3 == 0) {
            require(box_.installed() == before, "every tap survives the process");
        }
    }

    bool quiet() {
        return box_.is_up() && !box_.paused && !box_.refusing && !box_.poison &&
               !box_.tasking().resync_wanted();
    }

    /// What a client got: messages that its source signed, no more answers than it has asked for.
    void judge(Client& its) {
        dtcp::Splitter splitter{std::size_t{1} << 26};
        std::string_view bytes = its.received;
        std::vector<dtcp::Response> messages;
        for (;;) {
            const auto message = splitter.next(bytes);
            require(message.has_value(), "a message ends");
            if (!*message) {
                break;
            }
            require(its.account.source.has_value(), "who is no source hears nothing");
            auto response = dtcp::read_response(**message, key(*its.account.source));
            require(response.has_value(), "what is sent is well-formed, and signed by the client's source");
            its.answers += response->is_notification() ? 0U : 1U;
            messages.push_back(std::move(*response));
        }
        require(splitter.pending() == 0, "nothing but whole messages");
        its.received.clear();
        require(its.answers <= authentic(its), "no answer to what nobody has signed");
        for (const auto& message : messages) {
            if (message.code != 200 && !message.is_notification()) {
                continue;  // it repeats a line of the request
            }
            for (const auto& field : message.fields) {
                if (field.id == dtcp::Name::criteria_id) {
                    const auto owner = owners_.find(field.value);
                    require(owner == owners_.end() || owner->second == *its.account.source,
                            "nobody is told of another's tap");
                }
            }
        }
    }

    static std::size_t authentic(const Client& its) {
        if (!its.account.source) {
            return 0;
        }
        dtcp::Splitter splitter{dtcp::max_message};
        std::string_view bytes = its.given;
        std::size_t count = 0;
        for (;;) {
            const auto message = splitter.next(bytes);
            // The stream ends at a message that is too long, which may be answered.
            if (!message) {
                return count + 1;
            }
            if (!*message) {
                return count;
            }
            count += key(*its.account.source).verify(dtcp::parse_request(**message)) ? 1U : 0U;
        }
    }

    void look() {
        box_.settle();
        collect();
        const auto installed = box_.installed();
        const auto& taps = box_.tasking().taps();
        std::set<std::uint64_t> known;
        for (const auto source : {SourceIndex{0}, SourceIndex{1}}) {
            const auto& its = taps.of(source);
            require(source != SourceIndex{0} || its.size() <= 4, "the source's bound on criteria");
            require(source != SourceIndex{0} || taps.cdests_with(source, {}) <= 3,
                    "the source's bound on destinations");
            for (const auto& [id, tap] : its) {
                known.insert(id);
                const auto [place, is_new] = owners_.emplace(std::to_string(id), source);
                require(place->second == source, "a Criteria-ID is never another's");
                if (is_new) {
                    seen_.push_back(id);
                }
            }
            check_destinations(source, installed);
        }
        if (quiet()) {
            require(std::ranges::equal(known, installed), "the dataplane has the taps that control has");
        }
        require(box_.service().sessions() >= clients_.size(), "a client has a session");
        for (const auto& its : clients_) {
            require(box_.service().output(its.session).size() <= 2 * control::Session::output_limit,
                    "what is not read is bounded");
        }
    }

    /// Copies go where the source may have them, and nowhere else.
    void check_destinations(SourceIndex source, const std::vector<std::uint64_t>& installed) {
        for (const auto& [id, tap] : box_.tasking().taps().of(source)) {
            if (!std::ranges::binary_search(installed, id)) {
                continue;
            }
            for (const auto& destination : box_.destinations_of(id)) {
                const auto& allowed = box_.sources().at(source).config->destinations;
                require(std::ranges::any_of(allowed,
                                            [&](const auto& prefix) {
                                                return lib::contains(
                                                    prefix, {destination.family, destination.dest_address});
                                            }),
                        "the source may deliver there");
            }
        }
    }

    Box box_{box_config(), 1};
    std::optional<control::SequenceStore> store_;
    std::optional<control::DatagramService> udp_;
    std::vector<Client> clients_;
    std::vector<std::uint64_t> seen_;  ///< Criteria-IDs, in the order of their coming
    std::map<std::string, SourceIndex> owners_;
};

std::size_t digit(char character) {
    return character >= 'a' ? static_cast<std::size_t>(character - 'a') + 10
                            : static_cast<std::size_t>(static_cast<unsigned char>(character)) - '0';
}

}  // namespace
}  // namespace flowtap::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace flowtap::test;
    std::string_view script = as_text(data, size);
    World world;
    for (std::size_t steps = 0; steps < most_steps && !script.empty(); ++steps) {
        const auto end = std::min(script.find(separator), script.size());
        const auto part = script.substr(0, end);
        script.remove_prefix(std::min(end + 1, script.size()));
        if (part.size() >= 2) {
            world.step(part[0], digit(part[1]) % 36, part.substr(2));
        }
    }
    world.end();
    return 0;
}
