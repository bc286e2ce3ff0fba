#include "test/support/recorded.h"

#include <pcap/pcap.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

namespace flowtap::test {
namespace {

void read(const std::filesystem::path& path, std::vector<Bytes>& frames) {
    std::array<char, PCAP_ERRBUF_SIZE> error{};
    const std::unique_ptr<pcap_t, decltype(&pcap_close)> file(pcap_open_offline(path.c_str(), error.data()),
                                                              &pcap_close);
    if (!file || pcap_datalink(file.get()) != DLT_EN10MB) {
        return;
    }
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    while (pcap_next_ex(file.get(), &header, &data) == 1) {
        if (header->caplen == header->len && header->len >= 14 && header->len <= 9216) {
            frames.emplace_back(data, data + header->caplen);
        }
    }
}

std::vector<Bytes> read_all() {
    std::vector<Bytes> frames;
    const std::filesystem::path folder(RECORDED_FRAMES);
    if (!std::filesystem::exists(folder)) {
        return frames;
    }
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        if (entry.path().extension() == ".pcap") {
            paths.push_back(entry.path());
        }
    }
    std::ranges::sort(paths);
    for (const auto& path : paths) {
        read(path, frames);
    }
    return frames;
}

}  // namespace

const std::vector<Bytes>& recorded_frames() {
    static const std::vector<Bytes> frames = read_all();
    return frames;
}

}  // namespace flowtap::test
