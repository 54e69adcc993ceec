#!/usr/bin/env bash
# Runs tests at the level avx512 on a CPU that does not have it: Bochs emulates one that does, and boots Debian's kernel with
# nothing but the tests in it. Some minutes after compiling, and about a hundred times as slow as a CPU, so it is no part of
# .ci/run. Needs root on Debian, for apt-get and the kernel that it installs. Arguments are names of test programs, with a
# colon and what the names of their tests must contain or without; those below are the default.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_packages.sh bochs bochsbios vgabios busybox-static cpio grub-pc-bin grub-common xorriso mtools \
    linux-image-cloud-amd64
[ $# -gt 0 ] || set -- elman:kernels golden one_answer:committed

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
target=${CARGO_TARGET_DIR:-target}/avx512

# Static programs need no libraries in the machine that is booted; they look for tests/ where it was when they were built.
mkdir -p "$work"/root/{bin,proc,dev,tmp} "$work/root$PWD" "$work/iso/boot/grub"
# Without scatters, because Bochs 2.7 takes one whose index is in zmm16 to zmm31 for an illegal instruction.
RUSTFLAGS='-C target-feature=+crt-static,+prefer-no-scatter' CARGO_TARGET_DIR=$target \
    cargo test --release --no-run --target x86_64-unknown-linux-gnu --message-format=json >"$work/built.json"
python3 - "$work" "$@" <<'PYTHON'
import json, pathlib, subprocess, sys

work, names = pathlib.Path(sys.argv[1]), {name.split(":")[0] for name in sys.argv[2:]}
for line in open(work / "built.json"):
    message = json.loads(line)
    if message.get("executable") and message["profile"]["test"] and message["target"]["name"] in names:
        name = message["target"]["name"]
        subprocess.run(["strip", "-o", work / "root/bin" / name, message["executable"]], check=True)
        names.remove(name)
if names:
    sys.exit(f"no such test program: {' '.join(names)}")
PYTHON
cp -r tests "$work/root$PWD/"
cp /bin/busybox "$work/root/bin/busybox"
ln -s busybox "$work/root/bin/sh"
cat >"$work/root/init" <<INIT
#!/bin/sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
cd '$PWD'
export ELMAN_LEVEL=avx512 PROPTEST_CASES=4
for test in $*; do
    echo "== \$test"
    program=\${test%%:*} only=\${test#\$program}
    if /bin/\$program --test-threads=1 \${only#:}; then echo "PASSED \$test"; else /bin/busybox dmesg | /bin/busybox tail -n 3; fi
done
echo END
/bin/busybox sleep 5 # until the serial line has sent everything
/bin/busybox poweroff -f
INIT
chmod +x "$work/root/init"
(cd "$work/root" && find . | cpio -o -H newc --quiet | gzip -1 >"$work/iso/boot/initrd.gz")
kernels=(/boot/vmlinuz-*-cloud-amd64)
cp "${kernels[-1]}" "$work/iso/boot/vmlinuz"
# Without clearcpuid, Linux finds the emulated XSAVES inconsistent, and does without AVX.
cat >"$work/iso/boot/grub/grub.cfg" <<'GRUB'
set timeout=0
linux /boot/vmlinuz console=ttyS0 mitigations=off quiet clearcpuid=xsaves,xsavec
initrd /boot/initrd.gz
boot
GRUB
grub-mkrescue -o "$work/tests.iso" "$work/iso" 2>/dev/null
cat >"$work/bochsrc" <<BOCHS
cpu: model=corei7_skylake_x, count=1, ips=400000000
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path=$work/tests.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
display_library: rfb, options="timeout=0"
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
plugin_ctrl: speaker=0, e1000=0, es1370=0, sb16=0, voodoo=0, gameport=0, usb_uhci=0
log: $work/log
panic: action=fatal
clock: sync=none
BOCHS
echo continue >"$work/debugger"
: >"$work/serial"
# Debian's Bochs is built with its debugger, which ends at the end of its input.
bochs -q -f "$work/bochsrc" -rc "$work/debugger" < <(exec sleep infinity) >"$work/out" 2>&1 &
emulator=$!
tail -f "$work/serial" &
screen=$!
trap 'kill "$screen" "$emulator" 2>/dev/null; rm -rf "$work"' EXIT
while kill -0 "$emulator" 2>/dev/null && ! grep -q '^END' "$work/serial"; do
    sleep 1
done
for test in "$@"; do
    tr -d '\r' <"$work/serial" | grep -qx "PASSED $test" || { echo "FAILED: $test" >&2; exit 1; }
done
