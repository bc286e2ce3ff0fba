// Writes docs/configuration.md to the file given as argument.
#include "lib/config_reference.h"

#include <cstdio>
#include <fstream>

int main(int argc, char* argv[]) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    std::ofstream file(argv[1], std::ios::binary);
    file << flowtap::lib::configuration_reference();
    file.close();
    return file.good() ? 0 : 1;
}
