module github.com/oidcrp/oidcrp/interop

go 1.26.0

replace github.com/oidcrp/oidcrp => ../

require golang.org/x/net v0.62.0
