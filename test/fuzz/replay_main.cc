// Runs a fuzz target over every file of the folders given as arguments: the committed corpus as an ordinary
// test.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

/// Number of inputs run; -1 if a file cannot be read.
long replay(const std::filesystem::path& folder) {
    long inputs = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        if (!entry.is_regular_file()) {
            continue;
        }
        std::ifstream stream(entry.path(), std::ios::binary);
        const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
        if (!stream.good() && !stream.eof()) {
            std::fprintf(stderr, "cannot read %s\n", entry.path().c_str());
            return -1;
        }
        // An exact copy: a sanitizer sees any look past its end.
        const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
        LLVMFuzzerTestOneInput(input.data(), input.size());
        ++inputs;
    }
    return inputs;
}

}  // namespace

int main(int argc, char* argv[]) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s FOLDER...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; ++i) {
        std::error_code error;
        if (!std::filesystem::is_directory(argv[i], error)) {
            std::fprintf(stderr, "%s: not a folder\n", argv[i]);
            return 1;
        }
        const long inputs = replay(argv[i]);
        if (inputs <= 0) {
            std::fprintf(stderr, "%s: no input was run\n", argv[i]);
            return 1;
        }
        std::printf("%s: %ld inputs\n", argv[i], inputs);
    }
    return 0;
}
