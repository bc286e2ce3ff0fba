// The file of a static SA.
#include "lib/sa_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

namespace flowtap::test {
namespace {

void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "violated: %s\n", what);
        std::abort();
    }
}

std::string as_hex(const lib::SecretBytes& bytes) {
    std::string digits;
    for (const std::uint8_t byte : bytes.bytes()) {
        digits += fmt::format("{:02x}", byte);
    }
    return digits;
}

void check(std::string_view text) {
    const auto sa = lib::parse_sa_file(text, "file");
    if (!sa) {
        require(!sa.error().empty(), "a refusal says why");
        const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
        for (const auto& error : sa.error()) {
            require(!error.message.empty() && error.file == "file",
                    "every error has a message and the file's name");
            require(error.line <= lines, "the line is one of the file's");
        }
        return;
    }
    const lib::SuiteInfo* const suite = lib::find_suite(sa->suite);
    require(suite != nullptr, "the suite is known");
    require(std::to_underlying(sa->spi) >= lib::first_spi, "the SPI is not a reserved one");
    require(sa->key.size() == suite->key_material_size(), "the keys are of the suite's size");

    const std::string digits = as_hex(sa->key);
    const std::size_t first = 2 * (std::size_t{suite->cipher_key_size} + suite->salt_size);
    std::string plainly = fmt::format("spi = {}\nsuite = \"{}\"\nkey = \"{}\"\n", std::to_underlying(sa->spi),
                                      suite->name, digits.substr(0, first));
    if (first < digits.size()) {
        plainly += fmt::format("authentication-key = '{}'\n", digits.substr(first));
    }
    plainly += fmt::format("extended-sequence-numbers = {}\nudp-encapsulation = {}\n", sa->extended_sequence,
                           sa->udp_encapsulation);
    if (sa->padded_length != 0) {
        plainly += fmt::format("padded-length = {}\n", sa->padded_length);
    }
    const auto again = lib::parse_sa_file(plainly, "file");
    require(again.has_value() && again->spi == sa->spi && again->suite == sa->suite &&
                as_hex(again->key) == digits && again->extended_sequence == sa->extended_sequence &&
                again->udp_encapsulation == sa->udp_encapsulation &&
                again->padded_length == sa->padded_length,
            "written plainly, it is the same SA");
}

}  // namespace
}  // namespace flowtap::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    flowtap::test::check({reinterpret_cast<const char*>(data), size});
    return 0;
}
