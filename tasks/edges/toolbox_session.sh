#!/opt/subnet/busybox sh
# What the SSH server runs for each session: the renter's command or login shell, with the container's own PATH.
if [ -n "$SUBNET_PATH" ]; then PATH=$SUBNET_PATH; export PATH; fi
command=$SSH_ORIGINAL_COMMAND
unset SSH_ORIGINAL_COMMAND
case $command in
  '') exec "${SHELL:-/bin/sh}" -l ;;
  /usr/lib/sftp-server) exec /opt/subnet/loader --library-path /opt/subnet /opt/subnet/sftp-server ;;
  *) exec "${SHELL:-/bin/sh}" -c "$command" ;;
esac
