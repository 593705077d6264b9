// SPDX-License-Identifier: GPL-2.0-only
// Runs a parser on the files of a directory: what a fuzzer does first, without one.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size);

int main(int argc, char **argv)
{
	std::size_t files = 0;
	if (argc == 2)
		for (const auto &entry : std::filesystem::directory_iterator(argv[1])) {
			std::ifstream in(entry.path(), std::ios::binary);
			std::string text{std::istreambuf_iterator<char>(in), {}};
			std::printf("%s\n", entry.path().c_str());
			std::fflush(stdout); // the last one is the culprit
			LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t *>(text.data()), text.size());
			files++;
		}
	std::printf("%zu files\n", files);
	return files ? 0 : 1;
}
