package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// fileWriter replaces a whole file. It is a field wherever it is used, so that tests can fill the disk.
type fileWriter func(path string, data []byte, mode os.FileMode) error

// writeAtomic replaces path in one step: whoever reads it, also after a power cut, finds the old text or the new one.
func writeAtomic(path string, data []byte, mode os.FileMode) (err error) {
	// One fixed name: a killed process leaves at most one such file, and the next write takes it away.
	// O_EXCL does not follow a link that somebody else put there.
	temporary := path + ".tmp"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes a rename survive a power cut: the file's own fsync does not cover its name.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// lockFile holds path until the returned file is closed, or the process dies. Two servers over one state would undo each
// other's rollouts.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the lock %s cannot be opened: %w; give the server's user write access to WEBHOOK_STATE_DIR", path, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("another webhook server holds %s (%w); stop it, or give this one its own WEBHOOK_STATE_DIR", path, err)
	}
	return file, nil
}
