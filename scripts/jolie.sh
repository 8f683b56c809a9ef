#!/usr/bin/env bash
# Makes the folder with the Jolie interpreter: a small Java of its own, the interpreter from Maven Central at the versions
# of java/pom.xml, checked against java/checksums.sha256, our part of Java, and what scripts may include.
#
#   scripts/jolie.sh [FOLDER]     without one: $XDG_DATA_HOME/parlor/jolie, else ~/.local/share/parlor/jolie
#
# Does nothing where the folder is of these sources already.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-${XDG_DATA_HOME:-$HOME/.local/share}/parlor/jolie}
case "$folder" in /*) ;; *) folder=$PWD/$folder ;; esac
# As in src/script/jolie/home.rs.
VERSION=1
# The modules of Java that the interpreter and our part need.
MODULES=java.base,java.logging,jdk.unsupported

for program in mvn java javac jar jlink sha256sum ldd; do
  command -v "$program" >/dev/null && continue
  echo "make jolie needs $program: install Maven and a JDK, 17 or newer ('apt install maven openjdk-17-jdk-headless')" >&2
  exit 1
done
release=$(javac -version 2>&1 | sed -E 's/^javac ([0-9]+).*/\1/')
if [ "$release" -lt 17 ]; then
  echo "make jolie needs a JDK, 17 or newer; this one is $release" >&2
  exit 1
fi

sources=$(find java/src java/include java/packages java/pom.xml java/checksums.sha256 scripts/jolie.sh -type f | sort |
  xargs sha256sum | cat - <(javac -version 2>&1) | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$folder/sources" 2>/dev/null)" = "$sources" ]; then
  echo "ready: $folder"
  exit 0
fi

mkdir -p "$(dirname "$folder")"
# Made aside, and put in place when it is whole: a server must never see half of it.
work=$(mktemp -d "$(dirname "$folder")/jolie.XXXXXX")
trap 'rm -rf "$work"' EXIT
home=$work/home
mkdir -p "$home/lib" "$home/root" "$work/classes"

echo "fetching the interpreter from Maven Central …"
mvn --quiet --batch-mode --file java/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory="$home/lib" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
(cd "$home/lib" && sha256sum --quiet --check "$OLDPWD/java/checksums.sha256")
for jar in "$home"/lib/*.jar; do
  grep -q "  $(basename "$jar")\$" java/checksums.sha256 || { echo "$(basename "$jar") has no checksum" >&2; exit 1; }
done

echo "compiling our part …"
find java/src -name '*.java' -print0 | xargs -0 javac -Xlint:all -Werror --release 17 -cp "$home/lib/*" -d "$work/classes"
jar --create --file "$home/lib/parlor-jolie.jar" --date 2026-01-01T00:00:00Z -C "$work/classes" . 2>/dev/null ||
  jar --create --file "$home/lib/parlor-jolie.jar" -C "$work/classes" .
# The interpreter looks for embedding extensions in manifests. Java services go by the name of its own.
printf 'X-JOLIE-EmbeddingExtension: Jolie:parlor.jolie.JavaLoaderFactory\n' >"$work/manifest"
jar --create --file "$home/extension.jar" --manifest "$work/manifest"
cp -r java/include java/packages "$home/"

echo "making a small Java …"
jlink --add-modules "$MODULES" --strip-debug --no-header-files --no-man-pages --output "$home/runtime"
"$home/runtime/bin/java" -Xshare:dump -XX:+UseSerialGC >/dev/null 2>&1 || echo "no archive of Java's classes: it starts slower" >&2
(cd "$home" && find lib -name '*.jar' | sort | paste -sd :) >"$home/class-path"
# Classes loaded by the warm-up, in a form that is read at once. Relative paths: the folder is seen elsewhere later.
(cd "$home" && runtime/bin/java -Xmx32m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit=host.jsa \
  -Djava.nio.channels.spi.SelectorProvider=parlor.jolie.NoSelectors -cp "$(cat class-path)" parlor.jolie.Host . \
  </dev/null >/dev/null 2>"$work/log") || { cat "$work/log" >&2; exit 1; }

# What Java is linked with: its confined process sees these files of the system, and no others.
find "$home/runtime" -name '*.so' -o -path '*/bin/java' | xargs ldd 2>/dev/null |
  awk '$2 == "=>" && $3 ~ "^/" { print $3 } $1 ~ "^/" && $2 ~ "^\\(" { print $1 }' | grep -v "^$home" | sort -u >"$home/libraries"
echo "$VERSION" >"$home/version"
echo "$sources" >"$home/sources"
chmod -R a+rX "$home"

rm -rf "$folder.old"
if [ -e "$folder" ]; then mv "$folder" "$folder.old"; fi
mv "$home" "$folder"
rm -rf "$folder.old"
echo "ready: $folder ($(du -sh "$folder" | cut -f 1))"
