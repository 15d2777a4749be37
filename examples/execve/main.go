// SPDX-License-Identifier: MIT OR Apache-2.0

// Shows every execve(2) on this machine with its arguments.
//
// Go cannot give the host a C function to call, so the records come through the exported go-callback. The packages os,
// fmt and encoding/binary would make the module a third larger.
package main

import (
	_ "embed"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

const usage = `Usage: execve

Shows every execve(2) on this machine with its arguments (the first 63 bytes of the first 20), until Ctrl-C.

  -h, --help   this text
`

//go:embed execve.bpf.o
var object []byte

//go:wasmimport wasm_bpf wasm_load_bpf_object
func load(buf unsafe.Pointer, len int32) int64

//go:wasmimport wasm_bpf wasm_close_bpf_object
func closeObject(object int64) int32

//go:wasmimport wasm_bpf wasm_attach_bpf_program
func attach(object int64, name, target unsafe.Pointer) int32

//go:wasmimport wasm_bpf wasm_bpf_map_fd_by_name
func mapByName(object int64, name unsafe.Pointer) int32

//go:wasmimport callback-wrapper wasm_bpf_buffer_poll
func poll(object int64, buffer int32, ctx int32, data unsafe.Pointer, max int32, timeoutMs int32) int32

//go:wasmimport wasi_snapshot_preview1 args_sizes_get
func argsSizesGet(count, size unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 args_get
func argsGet(argv, text unsafe.Pointer) uint32

// The layout of struct event in execve.bpf.c.
const (
	atPid, atPpid, atComm, atLen, atText = 0, 4, 8, 24, 28
	recordLen                            = atText + 20*64
)

// A poll's result after Ctrl-C, in WASI's numbers and in the kernel's.
const interrupted, interruptedKernel = -27, -4

// out holds the rows of one poll.
var out strings.Builder

func cString(text string) unsafe.Pointer {
	return unsafe.Pointer(unsafe.StringData(text + "\x00"))
}

func column(text string, width int) {
	out.WriteString(text)
	for n := len(text); n <= width; n++ {
		out.WriteByte(' ')
	}
}

func row(pid, ppid, comm, arguments string) {
	column(pid, 7)
	column(ppid, 7)
	column(comm, 16)
	out.WriteString(arguments)
	out.WriteByte('\n')
}

//go:wasmexport go-callback
func callback(ctx, data, size int32) int32 {
	record := unsafe.Slice((*byte)(unsafe.Pointer(uintptr(uint32(data)))), int(size))
	if len(record) < atText {
		return 0
	}
	number := func(at int) int {
		return int(*(*uint32)(unsafe.Pointer(&record[at])))
	}
	comm, _, _ := strings.Cut(string(record[atComm:atLen]), "\x00")
	text := record[atText:min(len(record), atText+number(atLen))]
	arguments := strings.ReplaceAll(strings.TrimSuffix(string(text), "\x00"), "\x00", " ")
	row(strconv.Itoa(number(atPid)), strconv.Itoa(number(atPpid)), comm, arguments)
	return 0
}

func write(fd int, text string) {
	syscall.Write(fd, []byte(text))
}

func arguments() []string {
	var count, size uint32
	if argsSizesGet(unsafe.Pointer(&count), unsafe.Pointer(&size)) != 0 || size == 0 {
		return nil
	}
	argv, text := make([]uint32, count), make([]byte, size)
	if argsGet(unsafe.Pointer(&argv[0]), unsafe.Pointer(&text[0])) != 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

func fail(message string) {
	write(2, "execve: "+message+"\n")
	syscall.Exit(1)
}

func main() {
	if args := arguments(); len(args) > 1 {
		if args[1] == "-h" || args[1] == "--help" {
			write(1, usage)
			return
		}
		write(2, usage)
		syscall.Exit(2)
	}
	handle := load(unsafe.Pointer(&object[0]), int32(len(object)))
	if handle == 0 {
		fail("cannot load the object")
	}
	if err := attach(handle, cString("enter_execve"), nil); err < 0 {
		fail("cannot attach enter_execve: error " + strconv.Itoa(int(-err)))
	}
	events := mapByName(handle, cString("events"))
	if events < 0 {
		fail("the object has no map events")
	}
	record := make([]byte, recordLen)
	row("PID", "PPID", "COMM", "ARGUMENTS")
	for {
		write(1, out.String())
		out.Reset()
		err := poll(handle, events, 0, unsafe.Pointer(&record[0]), int32(len(record)), 100)
		if err == interrupted || err == interruptedKernel {
			break
		}
		if err < 0 {
			fail("cannot poll: error " + strconv.Itoa(int(-err)))
		}
	}
	write(1, out.String())
	closeObject(handle)
}
