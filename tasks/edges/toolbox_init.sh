#!/opt/subnet/busybox sh
# The first process of a renter's container: an SSH server beside the program that its renter or its image names.
# The image need have nothing for it, not even a shell: every tool is the toolbox's own. What can't be written because
# the root is read-only stays as the image has it. Words are the program's: they are executed, and never evaluated.
b=/opt/subnet/busybox
log=/etc/subnet/ssh.log

make_room() {
  [ -e /bin/sh ] || { $b mkdir -p /bin && $b ln -s $b /bin/sh; }
  [ -e /etc/passwd ] || echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd
  while IFS=: read -r user _ _ _ _ home shell; do [ "$user" = root ] && break; done < /etc/passwd
  case $shell in
    */nologin | */false | '') shell=/none ;;
  esac
  [ -x "$shell" ] || $b sed -i 's|^\(root:.*:\)[^:]*$|\1/bin/sh|' /etc/passwd
  [ "$home" = /root ] || [ -e "$home/.ssh" ] || { $b mkdir -p "$home" && $b ln -s /root/.ssh "$home/.ssh"; }
  $b chmod go-w /root /root/.ssh  # the server trusts no keys that others could have written
  [ -d /etc/profile.d ] && [ ! -e /etc/profile.d/subnet.sh ] &&
    echo 'if [ -n "$SUBNET_PATH" ]; then PATH=$SUBNET_PATH; export PATH; fi' > /etc/profile.d/subnet.sh
}

# Its own words stand in a file of their own, and not among the renter's: the last thousand lines or so.
keep_log() {
  lines=0
  while read -r line; do
    lines=$((lines + 1))
    [ $((lines % 1000)) = 1 ] && [ $lines != 1 ] && $b mv -f $log $log.1
    echo "$line" >> $log
  done
}

serve_ssh() {
  SUBNET_PATH=$PATH
  export SUBNET_PATH
  while :; do
    /opt/subnet/loader --library-path /opt/subnet /opt/subnet/dropbear -F -E -e -s -m -p 22 -K 30 \
      -r /etc/subnet/host_key -P /etc/subnet/ssh.pid -c '/opt/subnet/busybox sh /opt/subnet/session' < /dev/null 2>&1
    $b sleep 1
  done | keep_log
}

tell() {
  is_told=1
  [ -n "$main" ] && $b kill -"$1" "$main" 2> /dev/null
}

# A signal interrupts the waiting: its status is the program's only when none came meanwhile.
await_main() {
  again=
  while :; do
    is_told=
    wait $main
    status=$?
    [ -n "$again" ] && [ $status = 127 ] && return  # it had ended before the signal came
    code=$status again=1
    [ -z "$is_told" ] && return
  done
}

make_room 2> /dev/null
serve_ssh 2> /dev/null &
main= code=0 is_ending=
for signal in HUP QUIT USR1 USR2; do trap "tell $signal" $signal; done
trap 'is_ending=1; tell TERM' TERM INT
if [ $# != 0 ]; then
  "$@" &
  main=$!
  await_main
  main=
  [ -n "$is_ending" ] && exit $code
  echo "subnet: the main program ended with exit code $code; SSH stays up"
fi
while [ -z "$is_ending" ]; do
  $b sleep 86400 &
  wait $!
done
exit $code
