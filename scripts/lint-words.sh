#!/bin/sh
# Finds words that the house does not use, in every tracked file and in commit messages, and commit subjects that are too
# long. CONTRIBUTING.md, "Words", says what to write instead.
set -eu
cd "$(dirname "$0")/.."

BANNED='whoever|what there is|is told|by now|somebody|as they are'
MAX_SUBJECT=60
# The commit from which messages are held to this.
SINCE=f97f053c2e6d4c0402dba5aefad3dd13f8ff4776
failed=0

if found=$(git grep -nIiwE "$BANNED|$(printf '%s' "$BANNED" | tr ' ' '_')" -- . ':!scripts/lint-words.sh'); then
  echo "words that the house does not use ($BANNED):" >&2
  printf '%s\n' "$found" >&2
  failed=1
fi

# A shallow clone has no history to look at, only the last commit.
range=$SINCE..HEAD
git merge-base --is-ancestor "$SINCE" HEAD 2>/dev/null || range="-1 HEAD"

# shellcheck disable=SC2086
if found=$(git log --format='%h %s' $range | awk -v max="$MAX_SUBJECT" 'length($0) - length($1) - 1 > max'; ) && [ -n "$found" ]; then
  echo "commit subjects of more than $MAX_SUBJECT characters:" >&2
  printf '%s\n' "$found" >&2
  failed=1
fi
# shellcheck disable=SC2086
if found=$(git log --format='%h %s%n%b' $range | grep -niwE "$BANNED"); then
  echo "words that the house does not use, in commit messages:" >&2
  printf '%s\n' "$found" >&2
  failed=1
fi
exit $failed
