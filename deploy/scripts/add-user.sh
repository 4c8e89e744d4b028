#!/usr/bin/env bash
# A user without rights, and its home: add-user.sh NAME NUMBER. With ROOT, in another file tree.
set -euo pipefail
name=$1 number=$2 root=${ROOT:-}

if grep -qs "^$name:" "$root/etc/passwd"; then
    echo "The user $name is there already."
    exit 0
fi
echo "$name:x:$number:" >> "$root/etc/group"
echo "$name:x:$number:$number::/home/$name:/usr/sbin/nologin" >> "$root/etc/passwd"
install -d -m 700 "$root/home/$name"
if [ "$(id -u)" -eq 0 ]; then
    chown "$number:$number" "$root/home/$name"
fi
