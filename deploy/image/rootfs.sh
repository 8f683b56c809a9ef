#!/bin/sh
# Lays out what is in the image: the program without its symbols (a sixth of it), the libraries that it loads, certificates, and a
# user without rights. The Dockerfile's last stage is this folder and nothing else.
#
#   deploy/image/rootfs.sh target/release/parlor FOLDER [MIB]     fails where it is more than so many MiB
set -eu

program=$1
root=$2
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/usr/lib/ssl" "$root/var/lib/parlor" "$root/tmp" "$root/usr/share/parlor"
strip -o "$root/usr/bin/parlor" "$program"
chmod 755 "$root/usr/bin/parlor"

# Each library under the name and in the folder in which the loader looks for it; the loader itself too.
ldd "$program" | while read -r name arrow path _; do
    case "$name" in
        linux-vdso.so.*) continue ;;
        /*) path=$name ;;
    esac
    [ "$arrow $path" != "=> not" ] || { echo "rootfs: $name is not found" >&2; exit 1; }
    mkdir -p "$root$(dirname "$path")"
    cp -L "$path" "$root$path"
done

# Whom brokers, databases and object stores are checked against: Rust reads the first, OpenSSL (Kafka's) the second.
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
ln -sf /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
echo 'parlor:x:65532:65532::/var/lib/parlor:/nonexistent' >"$root/etc/passwd"
echo 'parlor:x:65532:' >"$root/etc/group"
chown 65532:65532 "$root/var/lib/parlor"
chmod 700 "$root/var/lib/parlor"
chmod 1777 "$root/tmp"

size=$(du -sk --apparent-size "$root" | cut -f1)
echo "rootfs: $((size / 1024)) MiB, of which the program is $(($(stat -c %s "$root/usr/bin/parlor") / 1048576))"
if [ -n "${3-}" ] && [ "$size" -gt "$(($3 * 1024))" ]; then
    echo "rootfs: more than $3 MiB" >&2
    exit 1
fi
