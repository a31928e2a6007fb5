export LANG=${LANG:-C.UTF-8}
export CHARSET=${CHARSET:-UTF-8}
