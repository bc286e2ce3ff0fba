// What OpenSSL seals opens to the same packet, and what is damaged is refused by its name: all suites and
// implementations, sizes up to jumbo frames, sequence numbers of 32 and 64 bits out of order and with gaps,
// any padding that RFC 4303 allows.
#include "test/unit/crypto/exact_sa.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace flowtap::test {
namespace {

using crypto::Opened;
using crypto::OpenVerdict;
using lib::SuiteInfo;

constexpr std::uint64_t wrap = std::uint64_t{1} << 32;

/// Damage that shows before the text is believed: the sequence number stays free for the packet itself.
enum class Forgery : std::uint8_t {
    other_spi,
    cut_to_nothing,
    cut_off_boundary,
    cut_by_blocks,
    no_sequence,
    flipped_bit,
    other_key,
    other_high_half,
    count_,
};

/// What is wrong inside of a packet with a good ICV.
enum class Defect : std::uint8_t {
    padding_content,
    padding_length,
    next_header,
    dummy,
    other_version,
    length_beyond,
    count_,
};

template <typename Enum>
Enum draw(std::mt19937_64& random) {
    return static_cast<Enum>(random() % static_cast<std::uint64_t>(Enum::count_));
}

struct Packet {
    std::uint64_t sequence = 0;
    OpenVerdict verdict = OpenVerdict::opened;
    Bytes inner{};
    Bytes iv{};
    Bytes esp{};
};

/// The oracle's end of one SA.
class Sender {
  public:
    Sender(std::mt19937_64& random, const DrawnSa& sa) : random_(random), sa_(sa), suite_(*sa.suite) {}

    Packet good(std::uint64_t sequence, Bytes inner) {
        Packet packet{.sequence = sequence, .inner = std::move(inner)};
        seal(packet, plain(packet.inner, next_header_of(packet.inner)));
        return packet;
    }

    Packet defective(std::uint64_t sequence, Bytes inner) {
        Packet packet{.sequence = sequence, .inner = std::move(inner)};
        const bool ipv4 = packet.inner[0] >> 4 == 4;
        const std::uint8_t right = ipv4 ? 4 : 41;
        Bytes text = plain(packet.inner, right);
        const std::size_t padding = text[text.size() - 2];
        switch (draw<Defect>(random_)) {
            case Defect::count_:
            case Defect::padding_content:
                packet.verdict = OpenVerdict::bad_padding;
                text[text.size() - 3 - random_() % padding] ^= static_cast<std::uint8_t>(1 + random_() % 255);
                break;
            case Defect::padding_length:
                packet.verdict = OpenVerdict::bad_padding;
                text[text.size() - 2] = padding == 255 ? 254 : 255;
                break;
            case Defect::next_header:
                packet.verdict = OpenVerdict::bad_next_header;
                text.back() = static_cast<std::uint8_t>(60 + random_() % 196);
                break;
            case Defect::dummy:
                packet.verdict = OpenVerdict::dummy;
                text.back() = 59;
                break;
            case Defect::other_version:
                packet.verdict = OpenVerdict::bad_inner;
                text.back() = ipv4 ? 41 : 4;
                break;
            case Defect::length_beyond:
                packet.verdict = OpenVerdict::bad_inner;
                text[ipv4 ? 2 : 4] = 0xff;
                break;
        }
        seal(packet, text);
        return packet;
    }

    /// Of a good packet that is still to come.
    Packet forged(const Packet& original) {
        Packet packet = original;
        Bytes& esp = packet.esp;
        const std::size_t around = std::size_t{8} + suite_.iv_size + suite_.icv_size;
        packet.verdict = OpenVerdict::bad_icv;
        switch (draw<Forgery>(random_)) {
            case Forgery::other_spi:
                packet.verdict = OpenVerdict::wrong_spi;
                esp[random_() % 4] ^= static_cast<std::uint8_t>(1 + random_() % 255);
                break;
            case Forgery::cut_to_nothing:
                packet.verdict = OpenVerdict::truncated;
                esp.resize(random_() % (around + 2));
                break;
            case Forgery::cut_off_boundary:
                packet.verdict = OpenVerdict::misaligned;
                esp.resize(esp.size() - 1 - random_() % (suite_.alignment - 1U));
                break;
            case Forgery::cut_by_blocks: {
                const std::size_t blocks = (esp.size() - around) / suite_.alignment;
                esp.resize(esp.size() - suite_.alignment * (1 + random_() % (blocks - 1)));
                break;
            }
            case Forgery::no_sequence:
                if (!sa_.extended) {
                    packet.verdict = OpenVerdict::zero_sequence;
                    std::fill_n(esp.begin() + 4, 4, std::uint8_t{0});
                    break;
                }
                [[fallthrough]];
            case Forgery::count_:
            case Forgery::flipped_bit: {
                const std::size_t bit = random_() % (8 * (esp.size() - 8));
                esp[8 + bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
                break;
            }
            case Forgery::other_key: {
                EspOracle other = sa_.oracle();
                // Where an HMAC authenticates, its key.
                const std::size_t from = suite_.combined() ? 0 : suite_.cipher_key_size;
                other.key[from + random_() % (other.key.size() - from)] ^= 0x10;
                esp = other.seal(sa_.spi, original.sequence, original.iv, plain(original.inner, 4));
                break;
            }
            case Forgery::other_high_half: {
                EspOracle other = sa_.oracle();
                other.extended_sequence = true;
                esp = other.seal(sa_.spi, original.sequence + wrap, original.iv, plain(original.inner, 4));
                break;
            }
        }
        return packet;
    }

  private:
    /// With padding longer than it has to be, and behind one packet of three TFC padding of any content.
    Bytes plain(const Bytes& inner, std::uint8_t next_header) {
        const std::size_t filler = random_() % 3 == 0 ? random_() % 300 : 0;
        Bytes text = concat({inner, random_bytes(random_, filler)});
        std::size_t padding = (0 - (text.size() + 2)) % suite_.alignment;
        padding += suite_.alignment * (1 + random_() % ((255 - padding) / suite_.alignment));
        for (std::size_t i = 1; i <= padding; ++i) {
            text.push_back(static_cast<std::uint8_t>(i));
        }
        text.push_back(static_cast<std::uint8_t>(padding));
        text.push_back(next_header);
        return text;
    }

    void seal(Packet& packet, const Bytes& text) {
        packet.iv = random_bytes(random_, suite_.iv_size);
        packet.esp = sa_.oracle().seal(sa_.spi, packet.sequence, packet.iv, text);
    }

    std::mt19937_64& random_;
    const DrawnSa& sa_;
    const SuiteInfo& suite_;
};

using Verdicts = std::map<OpenVerdict, std::size_t>;

/// One each: proving an engine takes longer than opening a thousand packets.
crypto::Opener& opener_of(crypto::Implementation implementation) {
    static std::map<crypto::Implementation, crypto::Opener> openers;
    const auto found = openers.find(implementation);
    return found != openers.end()
               ? found->second
               : openers.emplace(implementation, make_opener(implementation)).first->second;
}

/// Our end of it.
class Receiver {
  public:
    Receiver(crypto::Opener& opener, const DrawnSa& sa, std::size_t window, Verdicts& verdicts)
        : sa_(sa),
          opener_(opener),
          inbound_(crypto::InboundSa::create(opener_.engine(), sa.inbound(window)).value()),
          verdicts_(verdicts) {}

    void take(const Packet& packet) {
        Bytes esp = packet.esp;
        const Opened opened = opener_.open(*inbound_, esp);
        ++verdicts_[opened.verdict];
        if (const std::string why = wrong_in(packet, opened); !why.empty()) {
            FAIL(sa_.description() << ", sequence number " << packet.sequence << ", " << packet.inner.size()
                                   << " bytes inside, " << packet.esp.size() << " of ESP: " << why);
        }
    }

  private:
    std::string wrong_in(const Packet& packet, const Opened& opened) const {
        const auto name = [](OpenVerdict verdict) {
            return crypto::open_verdicts[static_cast<std::size_t>(verdict)].name;
        };
        if (opened.verdict != packet.verdict) {
            return fmt::format("{}, not {}", name(opened.verdict), name(packet.verdict));
        }
        if (packet.verdict != OpenVerdict::opened) {
            return opened.inner.empty() ? "" : "a packet comes out of what was refused";
        }
        if (!std::ranges::equal(opened.inner, packet.inner)) {
            return "another inner packet";
        }
        if (std::to_underlying(opened.next_header) != next_header_of(packet.inner)) {
            return "another next header";
        }
        return opened.sequence == packet.sequence ? "" : fmt::format("sequence number {}", opened.sequence);
    }

    const DrawnSa& sa_;
    crypto::Opener& opener_;
    std::unique_ptr<crypto::InboundSa> inbound_;
    Verdicts& verdicts_;
};

/// Some good packets in a row, defective ones among them, in any order within the smallest window.
constexpr std::uint32_t together = 16;

void open_all_of(std::mt19937_64& random, crypto::Opener& opener, const DrawnSa& drawn, Deck& deck,
                 Verdicts& verdicts) {
    constexpr std::array<std::size_t, 4> windows{64, 65, 1000, 4096};
    const std::size_t window = windows[random() % windows.size()];
    Sender sender(random, drawn);
    Receiver receiver(opener, drawn, window, verdicts);
    std::uint64_t next = drawn.first;
    for (std::uint32_t left = drawn.packets; left > 0;) {
        const std::uint32_t count = std::min(left, together);
        std::vector<Packet> group;
        for (std::uint32_t i = 0; i < count; ++i) {
            next += random() % 8 == 0 ? 1 + random() % 3 : 1;  // some never come
            group.push_back(sender.good(next, deck.next()));
            if (random() % 8 == 0) {
                group.push_back(sender.defective(++next, group.back().inner));
            }
        }
        std::ranges::shuffle(group, random);
        for (const Packet& packet : group) {
            if (packet.verdict == OpenVerdict::opened && random() % 4 == 0) {
                receiver.take(sender.forged(packet));
            }
            receiver.take(packet);
        }
        Packet again = group[random() % group.size()];
        again.verdict = OpenVerdict::replayed;
        receiver.take(again);
        const std::uint64_t top = std::ranges::max(group, {}, &Packet::sequence).sequence;
        if (const std::uint64_t behind = window + random() % 100; top > drawn.first + behind) {
            Packet old = sender.good(top - behind, deck.next());
            // Of 64 bits, what is left of the window is taken for the next round's: RFC 4303 appendix A2.2.
            old.verdict = drawn.extended ? OpenVerdict::bad_icv : OpenVerdict::too_old;
            receiver.take(old);
        }
        left -= count;
    }
}

TEST_CASE("what OpenSSL seals opens to the byte, and whatever is damaged is refused by its name") {
    for (const SuiteInfo& suite : lib::suites) {
        DYNAMIC_SECTION(suite.name) {
            std::mt19937_64 random(102);
            Deck deck(random);
            Verdicts verdicts;
            const std::size_t wanted = wanted_packets(suite);
            const auto [associations, packets] = split(wanted);
            for (std::size_t number = 0; number < associations; ++number) {
                DrawnSa drawn = draw_sa(random, suite, number, packets);
                if (!drawn.extended) {  // the counter's high half is the sender's alone; gaps want room
                    drawn.first = std::min(drawn.first % wrap, wrap - 8 * std::uint64_t{packets});
                }
                open_all_of(random, opener_of(drawn.implementation), drawn, deck, verdicts);
            }
            CHECK(verdicts[OpenVerdict::opened] >= wanted);
            for (std::size_t i = 0; i < static_cast<std::size_t>(OpenVerdict::count_); ++i) {
                const auto verdict = static_cast<OpenVerdict>(i);
                INFO(crypto::open_verdicts[i].name);
                CHECK((verdicts[verdict] > 0) == (verdict != OpenVerdict::no_cipher));
            }
        }
    }
}

}  // namespace
}  // namespace flowtap::test
