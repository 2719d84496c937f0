#!/bin/sh
# Makes the release in $2 the current one of the folder $1 and starts it. The link is renamed into
# place, so that whoever looks finds either the old release or the new one.
set -eu
ln -s "$2" "$1/current.$$"
python3 -c 'import os, sys; os.replace(*sys.argv[1:])' "$1/current.$$" "$1/current"
python3 "$1/current/greeter.pyz" production
