#!/bin/sh
# Reports to Sluice what another CI system builds. It takes curl, sed and awk.
#
#   sluice.sh begin                     open a run, before the build; prints its number
#   sluice.sh upload NAME FILE...       files as one artifact; of a folder, all that is in it
#   sluice.sh image NAME IMAGE@DIGEST   an image that is in a registry, by its digest
#   sluice.sh end STATUS                succeeded, failed or cancelled, or what CI calls these
#
# SLUICE_URL, SLUICE_TOKEN, SLUICE_PIPELINE  where to, as whom, and whose run it is
# SLUICE_COMMIT, SLUICE_RUN_URL              what is built, and where; taken from CI if not given
# SLUICE_STAGE, SLUICE_JOB, SLUICE_STEP      where it was made: build, build, upload (image: push)
# SLUICE_STATE                               the file that keeps the run's number: .sluice-run
# SLUICE_RUN                                 the run's number, where there is no such file
# SLUICE_ATTEMPTS, SLUICE_WAIT               6, and 1 s before the second, twice as long each time
# SLUICE_LARGE                               files above so many bytes go in parts: 64 MiB
#
# Every call may be made again: the same begin, upload or end has the same effect once.
set +x # A trace would show the token.
set -eu
umask 077

say() { printf 'sluice: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
}

# ---- Asking -------------------------------------------------------------------------------------
# ask PATH KEY ARGUMENT...: $method until there is an answer. $status is its HTTP status, and its
# body is in $tmp/answer. What is in $tmp/form goes to curl as configuration.
method=POST
ask() {
    path=$1 once=$2 again=$2 attempt=1 wait=${SLUICE_WAIT:-1}
    shift 2
    while :; do
        : >"$tmp/answer" >"$tmp/head"
        broke=0
        # On standard input, because everybody on the machine can read command lines.
        status=$({
            printf 'header = "Authorization: Bearer %s"\n' "$SLUICE_TOKEN"
            cat "$tmp/form"
        } | curl --config - --silent --show-error --connect-timeout 20 --request "$method" \
            --header "Idempotency-Key: $once" --output "$tmp/answer" --dump-header "$tmp/head" \
            --write-out '%{http_code}' "$@" "${SLUICE_URL%/}/api/v1/$path" 2>"$tmp/why") || broke=$?
        if refused_before; then
            once="$again $(random)"
            continue
        fi
        temporary || return 0
        if [ "$attempt" -ge "${SLUICE_ATTEMPTS:-6}" ]; then
            say "gave up after $attempt attempts"
            return 0
        fi
        say "$(reason); trying again in $wait s"
        sleep "$wait"
        attempt=$((attempt + 1)) wait=$((wait * 2))
    done
}

# Whether Sluice only repeats how it refused this request in an earlier call. Nothing was done then,
# and what was in the way may be gone by now.
refused_before() {
    case $broke$status in
    04??) grep -qi '^idempotent-replayed:' "$tmp/head" ;;
    *) return 1 ;;
    esac
}

random() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# Whether the same request may fare better in a while. The numbers are curl's: no such host, no
# connection, a broken or slow one.
temporary() {
    case $broke in
    0) ;;
    5 | 6 | 7 | 16 | 18 | 28 | 35 | 52 | 55 | 56 | 92) return 0 ;;
    *) return 1 ;;
    esac
    case $status in
    408 | 429 | 500 | 502 | 503 | 504) return 0 ;;
    409) [ "$(text_of code)" = idempotency_key_busy ] ;;
    *) return 1 ;;
    esac
}

# text_of FIELD: a text of the answer's JSON.
text_of() {
    sed -nE 's/.*"'"$1"'": *"(([^"\\]|\\.)*)".*/\1/p' "$tmp/answer" | sed 's/\\\(.\)/\1/g'
}

reason() {
    if [ "$broke" -ne 0 ]; then
        said=$(sed 's/^curl: ([0-9]*) //' "$tmp/why" | head -n 1)
        printf '%s did not answer: %s' "$SLUICE_URL" "${said:-curl ended with $broke}"
    else
        said=$(text_of detail)
        printf '%s answered %s: %s' "$SLUICE_URL" "$status" "${said:-no reason given}"
    fi
}

# expect WHAT: go on if the answer is a success, or else end with what was wrong and what to do.
expect() {
    if [ "$broke" -eq 0 ]; then
        case $status in
        2??) return 0 ;;
        3??) hint=" Is SLUICE_URL right? Redirections are not followed." ;;
        401) hint=" Is SLUICE_TOKEN right?" ;;
        404) hint=" Is there a pipeline “$SLUICE_PIPELINE” in Sluice? It must be made first." ;;
        *) hint= ;;
        esac
    else
        hint=
    fi
    fail "$1 failed: $(reason)$hint"
}

# json TEXT: as a JSON string.
json() {
    printf '"%s"' "$(printf '%s' "$1" | tr '\n\r\t' '   ' | sed 's/[\\"]/\\&/g')"
}

# send PATH KEY JSON
send() {
    : >"$tmp/form"
    printf '%s' "$3" >"$tmp/body"
    ask "$1" "$2" --header 'Content-Type: application/json' --data-binary "@$tmp/body"
}

# ---- The run that was begun ----------------------------------------------------------------------
state=${SLUICE_STATE:-.sluice-run}

kept() { [ -f "$state" ] && sed -n "s/^$1=//p" "$state" || :; }

keep() {
    printf 'pipeline=%s\nbuild=%s\nkey=%s\nnumber=%s\nended=%s\n' \
        "$SLUICE_PIPELINE" "$build" "$key" "$1" "${2:-}" >"$state.new"
    mv "$state.new" "$state"
}

# What tells this build from every other one: a file that another build left behind is not taken.
this_build() {
    if [ -n "${GITHUB_RUN_ID:-}" ]; then
        printf 'github %s %s %s' "$GITHUB_RUN_ID" "${GITHUB_RUN_ATTEMPT:-1}" "${GITHUB_JOB:-}"
    elif [ -n "${CI_JOB_ID:-}" ]; then
        printf 'gitlab %s' "$CI_JOB_ID"
    elif [ -n "${BUILD_TAG:-}" ]; then
        printf 'jenkins %s' "$BUILD_TAG"
    else
        printf 'here'
    fi
    printf ' %s %s' "$commit" "$url"
}

need_run() {
    number=${SLUICE_RUN:-}
    if [ -z "$number" ] && [ "$(kept pipeline)" = "$SLUICE_PIPELINE" ]; then
        number=$(kept number)
    fi
    [ -n "$number" ] || fail "no run of “$SLUICE_PIPELINE” was begun here ($state): call begin first."
    run="pipelines/$SLUICE_PIPELINE/runs/$number"
}

begin() {
    commit=${SLUICE_COMMIT:-${GITHUB_SHA:-${CI_COMMIT_SHA:-${GIT_COMMIT:-}}}}
    url=${SLUICE_RUN_URL:-${CI_JOB_URL:-${BUILD_URL:-}}}
    if [ -z "$url" ] && [ -n "${GITHUB_RUN_ID:-}" ]; then
        url="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID"
    fi
    if [ "${#url}" -gt 200 ]; then
        say "the address of this build is longer than 200 characters and is left out"
        url=
    fi
    build=$(this_build | tr '\n\r' '  ')
    if [ "$(kept pipeline) $(kept build)" = "$SLUICE_PIPELINE $build" ] && [ -z "$(kept ended)" ]; then
        key=$(kept key) number=$(kept number)
    else
        key=$(random) number=
        # Kept before it is sent: if the answer is lost, the next call asks with the same key.
        keep ''
    fi
    if [ -z "$number" ]; then
        send "pipelines/$SLUICE_PIPELINE/runs/" "begin $key" \
            "{\"external\": true, \"url\": $(json "$url"), \"commit\": $(json "$commit")}"
        expect "beginning a run of “$SLUICE_PIPELINE”"
        number=$(sed -nE 's/.*"number": *([0-9]+).*/\1/p' "$tmp/answer")
        [ -n "$number" ] || fail "$SLUICE_URL did not answer as Sluice does. Is SLUICE_URL right?"
        keep "$number"
    fi
    say "run $SLUICE_PIPELINE #$number has begun"
    printf '%s\n' "$number"
}

# ---- Artifacts -----------------------------------------------------------------------------------
# add FILE NAME: one more file of the artifact, as a line of curl's configuration.
add() {
    case $1$2 in
    *[\"\\]* | *[[:cntrl:]]*) fail "the name of “$1” has a quotation mark or a backslash in it: rename it." ;;
    esac
    case $1 in
    /*) file=$1 ;;
    *) file=./$1 ;;
    esac
    printf 'form = "file=@\\"%s\\";filename=\\"%s\\""\n' "$file" "$2" >>"$tmp/form"
    printf '%s\n' "$file" >>"$tmp/files"
    printf '%s\n' "$2" >>"$tmp/names"
}

size_of() { wc -c <"$1" | tr -d ' '; }

# sha256_of FILE: in hex, or nothing where no program for it is.
sha256_of() {
    if command -v sha256sum >/dev/null; then
        sha256sum <"$1" | cut -d ' ' -f 1
    elif command -v shasum >/dev/null; then
        shasum -a 256 <"$1" | cut -d ' ' -f 1
    fi
}

# Whether one of the files is so large that a connection that breaks would cost too much.
is_large() {
    while IFS= read -r file; do
        [ "$(size_of "$file")" -le "${SLUICE_LARGE:-67108864}" ] || return 0
    done <"$tmp/files"
    return 1
}

upload() {
    [ "$#" -ge 2 ] || usage
    name=$1
    shift
    need_run
    : >"$tmp/form"
    : >"$tmp/files"
    : >"$tmp/names"
    for each; do
        if [ -d "$each" ]; then
            folder=${each%/}
            case $folder in -*) folder=./$folder ;; esac
            find -L "$folder" -type f | LC_ALL=C sort >"$tmp/found"
            [ -s "$tmp/found" ] || fail "there is no file in the folder “$each”."
            while IFS= read -r found; do
                [ -f "$found" ] || fail "a name in “$each” has a line break in it: rename the file."
                add "$found" "${found#"$folder"/}"
            done <"$tmp/found"
        elif [ -f "$each" ]; then
            add "$each" "${each##*/}"
        else
            fail "there is no file “$each”. Here are: $(ls | head -n 20 | tr '\n' ' ')"
        fi
    done
    if is_large; then
        upload_in_parts
        return
    fi
    # The same files under the same name are the same request; other files are another one.
    sum=$({
        printf '%s\n' "$name"
        cat "$tmp/form"
        while IFS= read -r file; do cat "$file"; done <"$tmp/files"
    } | cksum | tr ' ' '-')
    ask "$run/artifacts/" "upload $SLUICE_PIPELINE $number $sum" --form-string "artifact=$name" \
        --form-string "stage=${SLUICE_STAGE:-build}" --form-string "job=${SLUICE_JOB:-build}" \
        --form-string "step=${SLUICE_STEP:-upload}"
    expect "uploading “$name”"
    say "uploaded “$name”: $(wc -l <"$tmp/files" | tr -d ' ') files, $(text_of reference)"
}

# Send the files part by part. A call that was cut off is made again and sends what is missing.
upload_in_parts() {
    announced=$(announce)
    sum=$({
        printf '%s' "$announced"
        case $announced in *'"sha256": ""'*) while IFS= read -r file; do cat "$file"; done <"$tmp/files" ;; esac
    } | cksum | tr ' ' '-')
    begun="parts $SLUICE_PIPELINE $number $sum"
    send "$run/uploads/" "$begun" "$announced"
    expect "beginning to upload “$name”"
    look_at_parts
    case $(text_of state) in
    open | completed) ;;
    *)
        # Given up or expired since an earlier call: begun anew.
        send "$run/uploads/" "$begun $(random)" "$announced"
        expect "beginning to upload “$name”"
        look_at_parts
        ;;
    esac
    sed -nE 's/.*[^\]"missing": *\[([^]]*)\].*/\1/p' "$tmp/answer" | tr '}' '\n' |
        sed -nE 's/.*"file": *([0-9]+), *"part": *([0-9]+).*/\1 \2/p' >"$tmp/missing"
    part_size=$(number_of part_size)
    all=$(wc -l <"$tmp/missing" | tr -d ' ') sent=0
    [ "$all" -eq 0 ] || say "sending “$name” in $all parts of at most $part_size bytes"
    while read -r nth part; do
        send_part "$nth" "$part"
        sent=$((sent + 1))
    done <"$tmp/missing"
    send "$upload/complete/" "complete $begun" '{}'
    expect "completing the upload of “$name”"
    say "uploaded “$name”: $(wc -l <"$tmp/files" | tr -d ' ') files in parts, $(text_of reference)"
}

# What is to be sent, as JSON.
announce() {
    printf '{"artifact": %s, "stage": %s, "job": %s, "step": %s, "files": [' "$(json "$name")" \
        "$(json "${SLUICE_STAGE:-build}")" "$(json "${SLUICE_JOB:-build}")" \
        "$(json "${SLUICE_STEP:-upload}")"
    comma=
    while IFS= read -r file && IFS= read -r each <&3; do
        printf '%s{"path": %s, "size": %s, "sha256": "%s"}' "$comma" "$(json "$each")" \
            "$(size_of "$file")" "$(sha256_of "$file")"
        comma=', '
    done <"$tmp/files" 3<"$tmp/names"
    printf ']}'
}

# Ask what is there of the upload that was just begun.
look_at_parts() {
    upload="$run/uploads/$(number_of id)"
    : >"$tmp/form"
    method=GET
    ask "$upload/" "look"
    method=POST
    expect "looking at the upload of “$name”"
}

number_of() { sed -nE 's/.*"'"$1"'": *([0-9]+).*/\1/p' "$tmp/answer"; }

# send_part FILE PART: by their numbers.
send_part() {
    dd if="$(sed -n "$1p" "$tmp/files")" of="$tmp/part" bs="$part_size" skip=$(($2 - 1)) count=1 2>/dev/null
    : >"$tmp/form"
    set -- "$1" "$2" --header 'Content-Type: application/octet-stream' --header 'Expect:'
    if command -v openssl >/dev/null; then
        digest=$(openssl dgst -sha256 -binary <"$tmp/part" | openssl base64 -A)
        set -- "$@" --header "Content-Digest: sha-256=:$digest:"
    fi
    place="$1/$2"
    shift 2
    method=PUT
    ask "$upload/parts/$place/" "part" "$@" --data-binary "@$tmp/part"
    method=POST
    expect "sending part $place of “$name” ($sent of $all are sent; call it again to go on)"
}

image() {
    [ "$#" -eq 2 ] || usage
    case $2 in
    *@sha256:*) ;;
    *) fail "“$2” names no exact image: give name:tag@sha256:… with the registry's digest." ;;
    esac
    need_run
    send "$run/artifacts/" "image $SLUICE_PIPELINE $number $(printf '%s\n' "$@" | cksum | tr ' ' '-')" \
        "{\"artifact\": $(json "$1"), \"type\": \"dockerImage\", \"dockerUrl\": $(json "$2"),
          \"stage\": $(json "${SLUICE_STAGE:-build}"), \"job\": $(json "${SLUICE_JOB:-build}"),
          \"step\": $(json "${SLUICE_STEP:-push}")}"
    expect "reporting the image “$1”"
    say "reported the image “$1”: $(text_of reference)"
}

# ---- The end -------------------------------------------------------------------------------------
end() {
    [ "$#" -eq 1 ] || usage
    case $(printf '%s' "$1" | tr '[:upper:]' '[:lower:]') in
    succeeded | success) wanted=succeeded ;;
    failed | failure | unstable | not_built) wanted=failed ;;
    cancelled | canceled | aborted) wanted=cancelled ;;
    *) fail "“$1” is no way for a run to end: succeeded, failed or cancelled." ;;
    esac
    need_run
    send "$run/finish/" "end $SLUICE_PIPELINE $number $wanted" "{\"status\": \"$wanted\"}"
    # A repeated call finds the run ended, which is as well when it ended in this very way.
    if [ "$status" != 409 ] || [ "$(text_of current)" != "$wanted" ]; then
        expect "ending run #$number as $wanted"
    fi
    if [ -z "${SLUICE_RUN:-}" ]; then
        build=$(kept build) key=$(kept key)
        keep "$number" "$wanted"
    fi
    say "run $SLUICE_PIPELINE #$number has ended: $wanted"
}

# ---- The call ------------------------------------------------------------------------------------
[ "$#" -ge 1 ] || usage
for variable in SLUICE_URL SLUICE_TOKEN SLUICE_PIPELINE; do
    eval "value=\${$variable:-}"
    [ -n "$value" ] || fail "$variable is not set."
done
case $SLUICE_TOKEN in
*[!A-Za-z0-9_.~+/=-]*) fail "SLUICE_TOKEN is no token: it has a character, a line break perhaps, that none has." ;;
esac
case $SLUICE_PIPELINE in
*[!a-z0-9._-]*) fail "SLUICE_PIPELINE is the pipeline's id, of a-z, 0-9 and . _ -, not “$SLUICE_PIPELINE”." ;;
esac
command -v curl >/dev/null || fail "there is no curl here: install it."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

verb=$1
shift
case $verb in
begin) [ "$#" -eq 0 ] || usage; begin ;;
upload) upload "$@" ;;
image) image "$@" ;;
end) end "$@" ;;
*) usage ;;
esac
