// Package e2e runs framebus as its users do: the built programs as processes of their own on a real nats-server, real
// video, real sockets, a real browser. What has a time or a rate in it is tested here and nowhere else. The tests carry
// the build tag e2e; `make e2e` builds what they need and runs them.
package e2e
